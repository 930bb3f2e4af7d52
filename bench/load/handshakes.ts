/** Connections are opened and closed again in order, `depth` of them at a time. */

import { Connection } from './connection.ts';
import { buildContent } from './content.ts';
import { Histogram } from './histogram.ts';
import type { Job, JobResult } from './job.ts';
import { COLD, elapseBusy, Window } from './window.ts';

/** Before so many, more time goes into compiling the server's code than into running it. */
const WARM = 4000;

export async function handshakes(job: Job, fail: (error: Error) => void): Promise<JobResult> {
  const content = buildContent(job.wire, 'text', 16, 1, false);
  const latencies = new Histogram();
  const window = new Window(job.pids);
  let completed = 0;
  let over = false;

  const next = () => {
    const from = performance.now();
    const connection = new Connection(content, {
      port: job.ports[0]!,
      wire: job.wire,
      deflate: job.deflate,
    });
    connection.onError = fail;
    connection.onOpen = () => connection.close();
    connection.onClose = () => {
      completed++;
      latencies.add(performance.now() - from, 1);
      if (!over) next();
    };
  };
  for (let i = 0; i < job.depth; i++) next();

  const isWarm = await elapseBusy(job.pids, job.warmup, () => completed >= WARM);
  if (!isWarm && !job.mayBeCold) throw new Error(COLD);
  completed = 0;
  latencies.clear();
  window.open();
  await elapseBusy(job.pids, job.duration);
  const used = window.close();
  over = true;
  return {
    ...used,
    messages: completed,
    p50: latencies.quantile(0.5),
    p99: latencies.quantile(0.99),
    memoryBefore: 0,
  };
}

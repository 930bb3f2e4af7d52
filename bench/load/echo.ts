/** Every connection keeps `depth` messages outstanding: as many as come back are sent again, in one write. */

import { everybodyReady } from '../program.ts';
import { connectAll } from './connect-all.ts';
import type { Connection } from './connection.ts';
import { buildContent, storedContent } from './content.ts';
import { Histogram } from './histogram.ts';
import type { Job, JobResult } from './job.ts';
import { settle } from './settle.ts';
import { COLD, elapseBusy, Window } from './window.ts';

/** Before so many, more time goes into compiling the server's code than into running it. */
const WARM = 30_000;
const WARM_BYTES = 256 * 1024 * 1024;

export async function echo(job: Job, fail: (error: Error) => void): Promise<JobResult> {
  const content =
    job.answers === 'stored'
      ? storedContent(job.size, job.depth)
      : buildContent(job.wire, job.kind, job.size, job.depth, false);
  const connections = await connectAll(content, job, fail);
  if (job.isPart) await everybodyReady();
  const latencies = new Histogram();
  const depth = job.depth;
  let messages = 0;

  const onMessages = (connection: Connection, count: number) => {
    const now = performance.now();
    const sentAt = connection.sentAt!;
    messages += count;
    for (let i = connection.received - count; i < connection.received; i++) {
      latencies.add(now - sentAt[i % depth]!, 1);
    }
    for (let i = connection.sent; i < connection.sent + count; i++) sentAt[i % depth] = now;
    connection.send(count);
  };
  for (const connection of connections) {
    connection.sentAt = new Float64Array(depth).fill(performance.now());
    connection.onMessages = onMessages;
    connection.send(depth);
  }

  const isWarm = () => messages * job.size >= WARM_BYTES || messages >= WARM;
  if (!(await elapseBusy(job.pids, job.warmup, isWarm)) && !job.mayBeCold) throw new Error(COLD);
  const window = new Window(job.pids);
  window.open();
  messages = 0;
  latencies.clear();
  await elapseBusy(job.pids, job.duration);
  const used = window.close();
  const result = {
    ...used,
    messages,
    p50: latencies.quantile(0.5),
    p99: latencies.quantile(0.99),
    memoryBefore: 0,
  };
  await settle(connections, ({ sent }) => sent);
  for (const connection of connections) connection.cut();
  return result;
}

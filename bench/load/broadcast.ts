/**
 * The first connection sends, all receive. A message is done when everyone has it; `depth` of them are under
 * way at any time. Deliveries are counted, and the window begins and ends where a message is done.
 */

import { connectAll } from './connect-all.ts';
import type { Connection } from './connection.ts';
import { buildContent } from './content.ts';
import { Histogram } from './histogram.ts';
import type { Job, JobResult } from './job.ts';
import { settle } from './settle.ts';
import { COLD, elapseBusy, Window } from './window.ts';

export async function broadcast(job: Job, fail: (error: Error) => void): Promise<JobResult> {
  const content = buildContent(job.wire, job.kind, job.size, job.depth, false);
  const connections = await connectAll(content, job, fail);
  // A client has the answer to its handshake before some servers count it among those who receive.
  await new Promise((resolve) => setTimeout(resolve, job.settle));
  const [sender] = connections as [Connection];
  const latencies = new Histogram();
  const window = new Window(job.pids);
  const depth = job.depth;
  const sentAt = new Float64Array(depth);
  /** How many connections have the messages under way, by number modulo depth. */
  const reached = new Uint32Array(depth);
  let deliveries = 0;

  let completedOnce: (() => void) | undefined;

  const onMessages = (connection: Connection, count: number) => {
    const now = performance.now();
    deliveries += count;
    let completed = 0;
    for (let i = connection.received - count; i < connection.received; i++) {
      const slot = i % depth;
      latencies.add(now - sentAt[slot]!, 1);
      if (++reached[slot]! === connections.length) {
        reached[slot] = 0;
        completed++;
      }
    }
    if (completed === 0) return;
    completedOnce?.();
    send(completed);
  };
  const send = (count: number) => {
    const now = performance.now();
    for (let i = sender.sent; i < sender.sent + count; i++) sentAt[i % depth] = now;
    sender.send(count);
  };
  /** Calls back, once, when a message is done, before the next is sent. */
  const atCompletion = <T>(then: () => T) =>
    new Promise<T>((resolve) => {
      completedOnce = () => {
        completedOnce = undefined;
        resolve(then());
      };
    });

  for (const connection of connections) connection.onMessages = onMessages;
  send(depth);
  if (!(await elapseBusy(job.pids, job.warmup)) && !job.mayBeCold) throw new Error(COLD);
  await atCompletion(() => {
    deliveries = 0;
    latencies.clear();
    window.open();
  });
  await elapseBusy(job.pids, job.duration);
  const result = await atCompletion(() => ({
    ...window.close(),
    messages: deliveries,
    p50: latencies.quantile(0.5),
    p99: latencies.quantile(0.99),
    memoryBefore: 0,
  }));
  await settle(connections, () => sender.sent);
  for (const connection of connections) connection.cut();
  return result;
}

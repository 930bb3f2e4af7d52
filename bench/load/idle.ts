/**
 * Resident memory of the server with `conns` connections at rest, and before they came. With permessage-deflate
 * each sends one compressed message first and has its answer.
 */
import { residentMemory } from '../proc.ts';
import { connectAll } from './connect-all.ts';
import { buildContent } from './content.ts';
import type { Job, JobResult } from './job.ts';
import { settle } from './settle.ts';
import { Window } from './window.ts';

/** Connections opened and cut again before anything is read, so that code and pools are in place. */
const REHEARSAL = 200;

/**
 * Milliseconds without traffic before anything is read. V8 keeps a young generation of the size that the last
 * burst needed, and gives it back at a collection when hardly anything was allocated in the five seconds since
 * the one before (`Heap::ReduceNewSpaceSize`): it belongs to the process, not to the connections.
 */
const REST = 6_000;

export async function idle(job: Job, fail: (error: Error) => void): Promise<JobResult> {
  const content = buildContent(job.wire, job.kind, job.size, 1, job.deflate);
  const window = new Window(job.pids);
  window.open();
  const open = async (conns: number) => {
    const connections = await connectAll(content, { ...job, conns }, fail);
    if (job.deflate) {
      for (const connection of connections) {
        await new Promise<void>((resolve) => {
          connection.onMessages = () => resolve();
          connection.send(1);
        });
      }
    }
    return connections;
  };

  for (const connection of await open(Math.min(REHEARSAL, job.conns))) connection.cut();
  const memoryBefore = await memoryAtRest(job.pids);
  const connections = await open(job.conns);
  const memory = await memoryAtRest(job.pids);
  const used = window.close();
  await settle(connections, ({ sent }) => sent);
  for (const connection of connections) connection.cut();
  return { ...used, memory, memoryBefore, messages: job.conns, p50: 0, p99: 0 };
}

/** Asks the server to collect (SIGUSR2), lets it rest, and asks again until that no longer changes anything. */
async function memoryAtRest(pids: number[]): Promise<number> {
  process.kill(pids[0]!, 'SIGUSR2');
  await new Promise((resolve) => setTimeout(resolve, REST));
  let last = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 20; tries++) {
    process.kill(pids[0]!, 'SIGUSR2');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const now = residentMemory(pids);
    if (Math.abs(now - last) < 0.002 * now && tries >= 4) return now;
    last = now;
  }
  return last;
}

/**
 * Pages that only stay open: resident memory of the instance for each, what Redis keeps for each, and what both use
 * while nothing happens.
 */
import { RespClient } from '../../src/redis.ts';
import { residentMemory } from '../proc.ts';
import { crowd, openAll, pause } from './crowd.ts';
import type { PageJob, PageResult } from './job.ts';
import { Meter, quiet } from './meter.ts';

/** Pages opened and cut before anything is read, so that code and pools are in place. */
const REHEARSAL = 500;
/** See load/idle.ts: V8 gives the young generation of the last burst back after a rest of five seconds. */
const REST = 6_000;

export async function rest(job: PageJob, fail: (error: Error) => void): Promise<PageResult> {
  const redis = job.redis === '' ? undefined : new RespClient({ port: Number(new URL(job.redis).port) });
  const redisMemory = async (): Promise<number> => {
    const info = String((await redis?.command('INFO', 'memory')) ?? '');
    return Number(/^used_memory:(\d+)/m.exec(info)?.[1] ?? 0);
  };
  const rehearsal = crowd(job, Math.min(REHEARSAL, job.pages), (i) => `r${i}`, [], fail);
  await openAll(rehearsal);
  await quiet(job.pids);
  for (const page of rehearsal) page.cut();
  await quiet(job.pids);
  const memoryBefore = await memoryAtRest(job);
  const redisBefore = await redisMemory();
  const pages = crowd(job, job.pages, (i) => `u${i}`, [], fail);
  await openAll(pages);
  await quiet(job.pids);
  const uncollected = residentMemory(job.pids);
  const memory = await memoryAtRest(job);
  const meter = new Meter(job);
  await pause(job.mayBeCold ? 500 : 10_000);
  const used = meter.stop();
  const grown = (await redisMemory()) - redisBefore;
  for (const page of pages) page.cut();
  await redis?.close();
  return { ...used, count: pages.length, memory, memoryBefore, uncollected, redisMemory: grown };
}

/** Asks the server to collect (SIGUSR2), lets it rest, and asks again until that no longer changes anything. */
async function memoryAtRest({ pids, mayBeCold }: PageJob): Promise<number> {
  process.kill(pids[0]!, 'SIGUSR2');
  await pause(mayBeCold ? 200 : REST);
  let last = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < 20; tries++) {
    process.kill(pids[0]!, 'SIGUSR2');
    await pause(500);
    const now = residentMemory(pids);
    if (Math.abs(now - last) < 0.002 * now && (tries >= 4 || mayBeCold)) return now;
    last = now;
  }
  return last;
}

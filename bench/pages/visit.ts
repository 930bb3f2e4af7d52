/**
 * Pages that open and leave, `pages` of them at a time, each of a user who was never here. Then some alone, to count
 * how often Redis is asked for one.
 */
import { RespClient } from '../../src/redis.ts';
import { Histogram } from '../load/histogram.ts';
import { COLD, elapseBusy } from '../load/window.ts';
import { pause } from './crowd.ts';
import type { PageJob, PageResult } from './job.ts';
import { Meter, quiet } from './meter.ts';
import { Page } from './page.ts';

/** Before so many, more time goes into compiling the server's code than into running it. */
const WARM = 6000;
const ALONE = 100;

export async function visit(job: PageJob, fail: (error: Error) => void): Promise<PageResult> {
  const latencies = new Histogram();
  let visits = 0;
  let completed = 0;
  let over = false;
  const one = (): Promise<void> =>
    new Promise((resolve) => {
      const from = performance.now();
      const page = new Page(job, `v${visits++}`);
      page.onError = fail;
      page.onOpen = () => page.leave();
      page.onClose = () => {
        completed++;
        latencies.add(performance.now() - from, 1);
        resolve();
      };
      page.open();
    });
  const going = Array.from({ length: job.pages }, async () => {
    while (!over) await one();
  });
  const isWarm = await elapseBusy(
    job.pids,
    job.mayBeCold ? 100 : 1500,
    () => completed >= (job.mayBeCold ? 0 : WARM),
  );
  if (!isWarm && !job.mayBeCold) throw new Error(COLD);
  latencies.clear();
  const meter = new Meter(job);
  const before = completed;
  await elapseBusy(job.pids, job.duration);
  const used = meter.stop();
  const count = completed - before;
  over = true;
  await Promise.all(going);
  const result = { ...used, count, p50: latencies.quantile(0.5), p99: latencies.quantile(0.99) };
  if (job.redis === '') return result;

  await quiet(job.pids);
  const redis = new RespClient({ port: Number(new URL(job.redis).port) });
  const reads = async (): Promise<number> =>
    Number(/^total_reads_processed:(\d+)/m.exec(String(await redis.command('INFO', 'stats')))![1]);
  const alone = async (times: number): Promise<number> => {
    const start = performance.now();
    const first = await reads();
    for (let i = 0; i < times; i++) {
      await one();
      // What is asked behind the page's back is asked for this page, not with the next one's.
      await pause(10);
    }
    // One is our own question.
    const asked = (await reads()) - first - 1;
    const spent = performance.now() - start;
    const idle = await reads();
    await pause(500);
    return asked - (((await reads()) - idle - 1) / 500) * spent;
  };
  const times = job.mayBeCold ? 10 : ALONE;
  const roundTrips = (await alone(times)) / times;
  await redis.close();
  return { ...result, roundTrips };
}

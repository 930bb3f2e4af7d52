/** One Redis client in its own process against a real Redis: CPU of the client per message. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { find } from '../../test/support/programs.ts';
import { startRedis } from '../../test/support/redis.ts';
import { runProgram } from '../program.ts';
import type { RespJob, RespResult } from '../resp/job.ts';
import { measuring } from '../roster.ts';
import type { Row } from '../rows.ts';
import type { MeasureOptions, Sample } from './scenario.ts';

/** Redis' own load generator, written in C: it has a rate, and nobody's CPU to compare. */
export const REDIS_BENCHMARK = 'redis-benchmark';

export function whyNoRedis(): string | undefined {
  return find('redis') ? undefined : 'redis-server is not on PATH';
}

export async function driveRedis(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const redis = await startRedis();
  try {
    if (name === REDIS_BENCHMARK) return { cost: Number.NaN, rate: await benchmarkRate(redis.port, row) };
    const { folder, subject } = measuring(name);
    const job: RespJob = {
      client: subject,
      port: redis.port,
      size: row.size,
      depth: row.depth,
      warmup: options.warmup,
      duration: options.duration,
    };
    const file = row.scenario === 'resp-publish' ? 'resp/publish.js' : 'resp/receive.js';
    const timeout = 30_000 + 4 * (options.warmup + options.duration);
    const { messages, elapsed, user, system } = await runProgram<RespResult>(folder, file, job, {
      timeout,
    });
    if (messages === 0) throw new Error('not one message in the whole window');
    return {
      cost: (user + system) / messages,
      system: system / (user + system),
      rate: (messages / elapsed) * 1000,
    };
  } finally {
    await redis.stop();
  }
}

async function benchmarkRate(port: number, { size, depth }: Row): Promise<number> {
  const { stdout } = await promisify(execFile)(REDIS_BENCHMARK, [
    ...['-p', String(port), '-c', '1', '-P', String(depth), '-n', '1000000', '--csv'],
    ...['PUBLISH', 'bench', 'm'.repeat(size)],
  ]);
  // The last line begins with the command and its requests per second, each in quotes.
  const rate = Number(stdout.trim().split('\n').at(-1)!.split('","')[1]?.replaceAll('"', ''));
  if (!Number.isFinite(rate)) throw new Error(`redis-benchmark said: ${stdout.slice(-200)}`);
  return rate;
}

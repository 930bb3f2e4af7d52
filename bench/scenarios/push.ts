/** One instance of a push server on a Redis of its own, pages, and somebody who sends through Redis. */
import { join } from 'node:path';
import { startRedis } from '../../test/support/redis.ts';
import { outFolder } from '../build.ts';
import type { PageJob, PageResult } from '../pages/job.ts';
import { startServer } from '../processes.ts';
import { runProgram } from '../program.ts';
import { peerNamed, whyNot } from '../roster.ts';
import type { Row } from '../rows.ts';
import { whyNoRedis } from './resp.ts';
import type { MeasureOptions, Sample } from './scenario.ts';

export function whyNoPush(name: string): string | undefined {
  return whyNoRedis() ?? whyNot(peerNamed(name));
}

export async function pushLoad(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const peer = peerNamed(name);
  const pages = peer.pages!;
  const redis = pages.sender === undefined ? undefined : await startRedis();
  try {
    const server = await startServer(peer, {
      mode: 'broadcast',
      isStrict: true,
      isSilent: true,
      redis: redis?.url,
      exposeGc: row.scenario === 'push-rest',
      nodeFlags: nodeFlags(name, row, options),
    });
    let result: PageResult;
    try {
      const job: PageJob = {
        scenario: row.scenario.replace('push-', '') as PageJob['scenario'],
        port: server.port,
        path: pages.path,
        wire: pages.wire,
        sender: pages.sender ?? 'push',
        recovers: pages.recovers ?? false,
        isQuiet: pages.isQuiet ?? false,
        redis: redis?.url ?? '',
        pids: server.pids,
        redisPids: redis === undefined ? [] : [redis.process.pid!],
        pages: row.conns,
        rate: row.rate ?? 0,
        size: row.size,
        duration: options.duration * 2,
        mayBeCold: options.isShort,
      };
      result = await runProgram<PageResult>(outFolder, 'pages/main.js', job, { timeout: 300_000 });
    } finally {
      await server.stop();
    }
    return sampleOf(row, result);
  } finally {
    await redis?.stop();
  }
}

/**
 * V8's young generation grows to 32 MB with the rush of opening and seldom shrinks: 3 kB for each of 10,000 pages that
 * have nothing to do with it. Where memory is measured, no server has more of it than a megabyte.
 */
function nodeFlags(name: string, row: Row, { profile }: MeasureOptions): string[] {
  const flags = row.scenario === 'push-rest' ? ['--max-semi-space-size=1'] : [];
  if (profile !== undefined)
    flags.push('--cpu-prof', `--cpu-prof-dir=${join(profile, row.id, name)}`, '--cpu-prof-interval=200');
  return flags;
}

function sampleOf(row: Row, result: PageResult): Sample {
  const { count, elapsed, serverCpu, redisCpu, ownCpu, p50, p99, memory, memoryBefore } = result;
  if (count === 0) throw new Error('not one message in the whole window');
  const MiB = 2 ** 20;
  if (row.scenario === 'push-rest') {
    const per10s = (nanoseconds: number) => (nanoseconds / 1000 / count / elapsed) * 10_000;
    return {
      cost: (memory - memoryBefore!) / 1000 / count,
      uncollected: (result.uncollected! - memoryBefore!) / 1000 / count,
      memory: memory / MiB,
      redisMemory: result.redisMemory! / count,
      idle: per10s(serverCpu.total),
      redisIdle: per10s(redisCpu.total),
    };
  }
  return {
    cost: serverCpu.total / 1000 / count,
    redis: redisCpu.total / 1000 / count,
    ...(result.roundTrips !== undefined && { roundTrips: result.roundTrips }),
    system: serverCpu.system / serverCpu.total,
    rate: (count / elapsed) * 1000,
    ...(p50 !== undefined && { p50, p99 }),
    memory: memory / MiB,
    generator: ownCpu / 1e6 / elapsed,
  };
}

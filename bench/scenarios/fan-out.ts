/**
 * Redis to pages: two instances on one Redis, pages on both, and what one page sends comes to all of them by way
 * of Redis. CPU of both instances per delivery; Redis' own is left out.
 */
import { startRedis } from '../../test/support/redis.ts';
import { type RunningServer, startServer } from '../processes.ts';
import { peerNamed } from '../roster.ts';
import type { Row } from '../rows.ts';
import { whyNoRedis } from './resp.ts';
import type { MeasureOptions, Sample } from './scenario.ts';
import { generate, jobOf, sampleOf, whyNotServed } from './server-load.ts';

const INSTANCES = 2;
/** Milliseconds until an instance certainly has subscribed in Redis for the pages that have just come. */
const SETTLE = 1500;

export function whyNoFanOut(name: string, row: Row): string | undefined {
  return whyNoRedis() ?? whyNotServed(name, row);
}

export async function fanOut(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const peer = peerNamed(name);
  const redis = await startRedis();
  const servers: RunningServer[] = [];
  try {
    for (let i = 0; i < INSTANCES; i++)
      servers.push(await startServer(peer, { mode: 'broadcast', isStrict: true, redis: redis.url }));
    const job = {
      ...jobOf(row, options),
      scenario: 'broadcast' as const,
      settle: SETTLE,
      ports: servers.map(({ port }) => port),
      path: peer.path,
      wire: peer.wire,
      pids: servers.flatMap(({ pids }) => pids),
    };
    return sampleOf(row, await generate(job, row, options));
  } finally {
    for (const server of servers) await server.stop();
    await redis.stop();
  }
}

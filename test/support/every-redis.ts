/** A Redis of each kind, from before the first test of a file until behind its last. */
import { after, before } from 'node:test';
import type { RedisTarget } from '../../src/pubsub/redis/target.ts';
import { needs } from './programs.ts';
import { type RedisServer, startRedis } from './redis.ts';
import { type ClusterGroup, type SentinelGroup, startCluster, startSentinels } from './redis-groups.ts';

export interface EveryRedis {
  skip: string | false;
  /** The one server; from the first test on. */
  readonly redis: RedisServer;
  /** By name; to be asked for in a test. */
  targets: Record<string, () => RedisTarget>;
}

/** To be called once, at the top of a file. */
export function startEveryRedis(): EveryRedis {
  const { skip = false } = needs('redis');
  let redis: RedisServer;
  let sentinels: SentinelGroup;
  let cluster: ClusterGroup;
  before(async () => {
    if (skip) return;
    [redis, sentinels, cluster] = await Promise.all([startRedis(), startSentinels(), startCluster()]);
  });
  after(() => Promise.all([redis, sentinels, cluster].map((group) => group?.stop())));
  return {
    skip,
    get redis() {
      return redis;
    },
    targets: {
      redis: () => redis.url,
      'redis behind Sentinels': () => sentinels.target,
      'Redis Cluster': () => cluster.target,
    },
  };
}

/** One behavioural suite, run against every broker. */
import { after, before } from 'node:test';
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import type { BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import {
  type ClusterGroup,
  type SentinelGroup,
  startCluster,
  startSentinels,
} from '../../support/redis-groups.ts';
import { brokerSuite } from './broker-suite.ts';
import { marksSuite } from './marks-suite.ts';

const store = new MemoryStore();
const memory = () => ({
  async open(listener: BrokerListener) {
    const broker = memoryBroker(store);
    await broker.open(listener);
    return broker;
  },
});
brokerSuite('memory', memory);
marksSuite('memory', memory);

const { skip } = needs('redis');
let redis: RedisServer;
let sentinels: SentinelGroup;
let cluster: ClusterGroup;
before(async () => {
  if (skip) return;
  [redis, sentinels, cluster] = await Promise.all([startRedis(), startSentinels(), startCluster()]);
});
after(() => Promise.all([redis, sentinels, cluster].map((group) => group?.stop())));

const targets: Record<string, () => RedisTarget> = {
  redis: () => redis.url,
  'redis behind Sentinels': () => sentinels.target,
  'Redis Cluster': () => cluster.target,
};
for (const [name, target] of Object.entries(targets)) {
  const factory = () => ({
    async open(listener: BrokerListener) {
      const broker = redisBroker(target());
      await broker.open(listener);
      return broker;
    },
  });
  brokerSuite(name, factory, skip);
  marksSuite(name, factory, skip);
}

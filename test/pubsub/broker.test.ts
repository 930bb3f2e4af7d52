/** One behavioural suite, run against every broker. */
import { after, before } from 'node:test';
import { MemoryStore, memoryBroker } from '../../src/pubsub/memory-broker.ts';
import { redisBroker } from '../../src/pubsub/redis-broker.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { brokerSuite } from './broker-suite.ts';

const store = new MemoryStore();
brokerSuite('memory', () => ({
  async open(listener) {
    const broker = memoryBroker(store);
    await broker.open(listener);
    return broker;
  },
}));

const { skip } = needs('redis');
let redis: RedisServer;
before(async () => {
  if (!skip) redis = await startRedis();
});
after(() => redis?.stop());

brokerSuite(
  'redis',
  () => ({
    async open(listener) {
      const broker = redisBroker(redis.url);
      await broker.open(listener);
      return broker;
    },
  }),
  skip,
);

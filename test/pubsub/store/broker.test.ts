/** One behavioural suite, run against every broker. */
import type { BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { startEveryRedis } from '../../support/every-redis.ts';
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

const { skip, targets } = startEveryRedis();
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

/** One behavioural suite, run against every broker. */
import { MemoryStore, memoryBroker } from '../../src/pubsub/memory-broker.ts';
import { brokerSuite } from './broker-suite.ts';

const store = new MemoryStore();
brokerSuite('memory', () => ({
  async open(listener) {
    const broker = memoryBroker(store);
    await broker.open(listener);
    return broker;
  },
}));

/** Any interleaving of what happens to an inbox, and five devices that agree after each step. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { Broker, BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { Play, type Stage } from './inbox-play.ts';

/** Replay one by INBOX_MODEL_SEED=4711 INBOX_MODEL_RUNS=1. */
const SEED = Number(process.env['INBOX_MODEL_SEED'] ?? Date.now() % 1e9);
const RUNS = Number(process.env['INBOX_MODEL_RUNS'] ?? 10_000);

const SHORT = 1000;

/** A process is started anew, with a store that has nothing: its brokers are others, and act as the same to who has them. */
function memoryStage(): Stage {
  let store = new MemoryStore();
  const instances: { listener: BrokerListener; broker: Broker }[] = [];
  return {
    short: SHORT,
    losses: {
      async 'the process is started anew'(channel) {
        store = new MemoryStore();
        for (const instance of instances) {
          await instance.broker.close();
          instance.broker = memoryBroker(store);
          await instance.broker.open(instance.listener);
          await instance.broker.subscribe(channel);
        }
        return 'all';
      },
    },
    async open(listener) {
      const instance = { listener, broker: memoryBroker(store) };
      await instance.broker.open(listener);
      instances.push(instance);
      return new Proxy({} as Broker, {
        get: (_, name: keyof Broker) => {
          const method = instance.broker[name];
          return typeof method === 'function' ? method.bind(instance.broker) : undefined;
        },
      });
    },
    now: () => Date.now(),
    async pass() {
      mock.timers.tick(SHORT / 2);
    },
    async save() {},
    async until(_, condition) {
      for (let i = 0; i < 20 && !condition(); i++) await undefined;
    },
  };
}

test(`${RUNS} interleavings in memory from seed ${SEED}: all devices agree on every state and count`, async () => {
  mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 });
  try {
    for (let seed = SEED; seed < SEED + RUNS; seed++) {
      const play = new Play(memoryStage(), `user:${seed}`, seed);
      await play.run(20).catch((error) => {
        assert.fail(`seed ${seed}:\n${play.story.join('\n')}\n${error.stack}`);
      });
    }
  } finally {
    mock.timers.reset();
  }
});

/**
 * A program: plays an inbox in memory from a seed on, so many times. By itself, as the hooks of a test runner make each of
 * its millions of promises several times as dear. Prints what was done where the devices and the model disagree.
 */
import type { Broker, BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { Play, type Stage } from './inbox-play.ts';

const SHORT = 1000;
const STEPS = 20;

let now = 1_700_000_000_000;
Date.now = () => now;

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
        return true;
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
    step: 0,
    clock: () => now,
    async pass() {
      now += SHORT / 2;
    },
    async save() {},
    rewind: async () => false,
    async until(_, condition) {
      for (let i = 0; i < 20 && !(await condition()); i++) await undefined;
    },
  };
}

const [first = 0, runs = 1] = process.argv.slice(2).map(Number);
for (let seed = first; seed < first + runs; seed++) {
  const play = new Play(memoryStage(), `user:${seed}`, seed);
  try {
    await play.run(STEPS);
  } catch (error) {
    console.error(`seed ${seed}:\n${play.story.join('\n')}\n${error instanceof Error ? error.stack : error}`);
    process.exit(1);
  }
}
console.log(`${runs} played`);

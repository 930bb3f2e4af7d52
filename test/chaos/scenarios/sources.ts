/** Messages come from sources, and everything between them and the pages is killed, at random for a given seed. */
import { Random } from '../../../src/prove/random.ts';
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import { pause } from '../../../src/waiting.ts';
import { type Fault, faults } from '../faults.ts';
import type { FeedKind } from '../feeds.ts';
import type { Scenario } from '../scenario.ts';
import { move } from './groups.ts';

const mine: Record<string, Fault> = {
  async 'source killed'(stage, random) {
    await stage.feed.kill();
    await pause(random.below(500));
    await stage.feed.start();
  },
  async 'source stands still'(stage, random) {
    stage.feed.signal('SIGSTOP');
    await pause(random.below(3000));
    stage.feed.signal('SIGCONT');
  },
  'store killed': faults['store killed'],
  'instance killed': faults['instance killed'],
  'instance terminated': faults['instance terminated'],
  'instance stands still': faults['instance stands still'],
  'pages cut': faults['pages cut'],
};

function fromSource(feed: FeedKind, what: string): Scenario {
  return {
    name: `source-${feed}`,
    what: `kill -9 of source, store and instances at random, for --seed and --time; messages come from ${what}`,
    expects: 'complete',
    setting: { instances: 3, store: 'durable', drain: 500, users: 3, interval: 15, feed },
    async play(stage) {
      const random = new Random(stage.plan.seed);
      const counts = new Map<string, number>();
      const end = performance.now() + stage.plan.time * 1000;
      // Each of them is killed at the least once, however short the time is.
      const first = ['source killed', 'instance killed', 'store killed'];
      while (first.length > 0 || performance.now() < end) {
        const name = first.shift() ?? random.pick(Object.keys(mine));
        counts.set(name, (counts.get(name) ?? 0) + 1);
        await mine[name]!(stage, random);
        await pause(random.below(600));
      }
      await stage.recovered();
      stage.note([...counts].map(([name, count]) => `${name} ${count}`).join(', '));
    },
  };
}

/** Longer than anybody waits for an answer. */
function frozen(feed: FeedKind): Scenario {
  return {
    name: `source-${feed}-frozen`,
    what: `the source (${feed}) stands still for --time, as a machine that swaps does, and goes on`,
    expects: 'complete',
    setting: { store: 'durable', drain: 500, users: 2, interval: 15, feed },
    async play(stage) {
      await stage.more(0.1);
      stage.feed.signal('SIGSTOP');
      await pause(stage.plan.time * 1000);
      stage.feed.signal('SIGCONT');
      stage.check(await stage.recovered(), 'messages do not come again');
    },
  };
}

/** A restart is one of the source and of the store. */
const ownOutbox: Scenario = {
  name: 'source-own-outbox',
  what: 'kill -9 of a PostgreSQL that has the outbox table and is the store, and of instances',
  expects: 'complete',
  stores: ['postgres'],
  setting: { instances: 3, store: 'durable', drain: 500, users: 3, interval: 15, feed: 'own-outbox' },
  async play(stage) {
    const random = new Random(stage.plan.seed);
    const end = performance.now() + stage.plan.time * 1000;
    do {
      await mine['source killed']!(stage, random);
      await stage.recovered();
      await mine[random.chance(2) ? 'instance killed' : 'instance stands still']!(stage, random);
      await pause(random.below(600));
    } while (performance.now() < end);
    await stage.recovered();
  },
};

const cluster: Scenario = {
  name: 'source-cluster',
  what: 'messages of an outbox table come into a Redis Cluster, whose slots move to other masters; and kill -9 of table and instances',
  expects: 'complete',
  stores: ['redis', 'cluster'],
  setting: { instances: 3, store: 'cluster', drain: 500, users: 3, interval: 15, feed: 'outbox' },
  async play(stage) {
    const random = new Random(stage.plan.seed);
    for (const user of stage.users) {
      await stage.more(0.1);
      await move(stage.cluster, slotOf(`tidings:user:${user}`));
      await mine[user === 'u1' ? 'source killed' : 'instance killed']!(stage, random);
      await stage.recovered();
    }
  },
};

export const sources = [
  fromSource('rabbitmq', 'queues and a stream of RabbitMQ'),
  fromSource('nats', 'a stream of NATS JetStream'),
  fromSource('outbox', 'an outbox table in PostgreSQL'),
  frozen('rabbitmq'),
  frozen('nats'),
  frozen('outbox'),
  ownOutbox,
  cluster,
];

/** What happens to a Redis that stands alone. */
import type { Scenario } from '../scenario.ts';

export const connectionsDropped: Scenario = {
  number: 6,
  name: 'redis-drops-clients',
  what: 'Redis drops the connections of all its clients, again and again',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 3 : 10); i++) {
      await stage.more(0.08);
      await stage.lone.dropClients();
      await stage.recovered();
    }
  },
};

export const restartedEmpty: Scenario = {
  number: 7,
  name: 'redis-restart-empty',
  what: 'kill -9 of a Redis, which has nothing when it is back, while some pages are offline',
  expects: 'told',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.1);
      const away = stage.pages.filter((_, k) => k % 2 === 0);
      for (const page of away) page.close();
      await stage.more(0.1);
      await stage.lone.kill();
      stage.lone.empty();
      await stage.lone.start();
      for (const page of away) page.reopen();
      await stage.recovered();
    }
  },
};

export const restartedWithLog: Scenario = {
  number: 8,
  name: 'redis-restart-aof',
  what: 'kill -9 of a Redis that writes to its disk what it confirms, and a restart',
  expects: 'complete',
  setting: { store: 'durable' },
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.2);
      await stage.lone.kill();
      await stage.lone.start();
      await stage.recovered();
    }
  },
};

export const rewound: Scenario = {
  number: 9,
  name: 'redis-rewind',
  what: 'Redis restarts from an older snapshot; pages were connected, went before it was taken, or went after it',
  expects: 'told',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.1);
      const [early, late] = [1, 2].map((rest) => stage.pages.filter((_, k) => k % 3 === rest));
      for (const page of early!) page.close();
      await stage.more(0.05);
      await stage.lone.save();
      await stage.more(0.05);
      for (const page of late!) page.close();
      await stage.more(0.05);
      await stage.lone.kill();
      stage.lone.rewind();
      await stage.lone.start();
      for (const page of [...early!, ...late!]) page.reopen();
      await stage.recovered();
    }
  },
};

export const subscriberDead: Scenario = {
  number: 14,
  name: 'pubsub-dead',
  what: 'the packets of the connections that subscribe at Redis vanish without a FIN; the others go on',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.1);
      const count = stage.back.freeze({ label: 'subscriber' });
      stage.check(count > 0, 'no connection subscribes: the scenario proves nothing');
      await stage.recovered();
    }
  },
};

export const flapping: Scenario = {
  number: 18,
  name: 'redis-flaps',
  what: 'Redis comes and goes while the publisher sends everything again, with its key, until it is promised',
  expects: 'complete',
  setting: { store: 'durable', impatience: 100 },
  async play(stage) {
    // Late answers, so that some are still on their way when the connection goes.
    stage.back.delay = 10;
    const times = stage.plan.isShort ? 6 : 30;
    for (let i = 0; i < times || (stage.publisher.duplicates === 0 && i < times * 10); i++) {
      await stage.more(0.01);
      stage.back.refuses = true;
      stage.back.cut();
      if (i % 6 === 5) await stage.lone.kill();
      await new Promise((resolve) => setTimeout(resolve, 250));
      if (i % 6 === 5) await stage.lone.start();
      stage.back.refuses = false;
    }
    stage.back.delay = 0;
    await stage.recovered();
    const { duplicates } = stage.publisher;
    stage.note(`${duplicates} receipts said that the message was stored already`);
    stage.check(
      duplicates > 0,
      'no message was stored by an attempt that had failed: the scenario proves nothing',
    );
  },
};

const LEASE = 1000;

export const standingStill: Scenario = {
  name: 'redis-stands-still',
  what: 'Redis stands still (SIGSTOP) for longer than leases last: nobody delivers then, and nothing is missing after it',
  expects: 'complete',
  setting: { options: { lease: LEASE } },
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 5); i++) {
      await stage.more(0.1);
      stage.lone.signal('SIGSTOP');
      try {
        await new Promise((resolve) => setTimeout(resolve, 2 * LEASE));
        for (const instance of stage.instances) {
          const { storeAway } = await instance.ask<{ storeAway: boolean }>('/stats');
          stage.check(storeAway, 'an instance goes on without a lease');
        }
      } finally {
        stage.lone.signal('SIGCONT');
      }
      await stage.recovered();
    }
  },
};

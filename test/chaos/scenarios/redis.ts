/** What happens to a Redis that stands alone. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from '../../support/redis-groups.ts';
import type { Scenario } from '../scenario.ts';

export const connectionsDropped: Scenario = {
  number: 6,
  name: 'redis-drops-clients',
  what: 'Redis drops the connections of all its clients, again and again',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 3 : 10); i++) {
      await stage.more(0.08);
      await ask(stage.redis, 'CLIENT', 'KILL', 'TYPE', 'normal');
      await ask(stage.redis, 'CLIENT', 'KILL', 'TYPE', 'pubsub');
      await stage.recovered();
    }
  },
};

export const restartedEmpty: Scenario = {
  number: 7,
  name: 'redis-restart-empty',
  what: 'kill -9 of a Redis that keeps nothing on disk while some pages are offline, and a restart',
  expects: 'told',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.1);
      const away = stage.pages.filter((_, k) => k % 2 === 0);
      for (const page of away) page.close();
      await stage.more(0.1);
      await stage.redis.kill();
      await stage.redis.start();
      for (const page of away) page.reopen();
      await stage.recovered();
    }
  },
};

export const restartedWithLog: Scenario = {
  number: 8,
  name: 'redis-restart-aof',
  what: 'kill -9 of a Redis with appendonly yes and appendfsync always, and a restart',
  expects: 'complete',
  setting: { redis: 'durable' },
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.2);
      await stage.redis.kill();
      await stage.redis.start();
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
      await ask(stage.redis, 'SAVE');
      const snapshot = join(stage.redis.folder, 'dump.rdb');
      copyFileSync(snapshot, `${snapshot}.old`);
      await stage.more(0.05);
      for (const page of late!) page.close();
      await stage.more(0.05);
      await stage.redis.kill();
      copyFileSync(`${snapshot}.old`, snapshot);
      await stage.redis.start();
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
  setting: { redis: 'durable', impatience: 100 },
  async play(stage) {
    // Late answers, so that some are still on their way when the connection goes.
    stage.back.delay = 10;
    const times = stage.plan.isShort ? 6 : 30;
    for (let i = 0; i < times || (stage.publisher.duplicates === 0 && i < times * 10); i++) {
      await stage.more(0.01);
      stage.back.refuses = true;
      stage.back.cut();
      if (i % 6 === 5) await stage.redis.kill();
      await new Promise((resolve) => setTimeout(resolve, 250));
      if (i % 6 === 5) await stage.redis.start();
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

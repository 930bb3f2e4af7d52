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
      stage.back.cut();
      await stage.recovered();
    }
  },
};

export const restartedEmpty: Scenario = {
  number: 7,
  name: 'redis-restart-empty',
  what: 'kill -9 of a Redis that keeps nothing on disk, and a restart',
  expects: 'told',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.2);
      await stage.redis!.kill();
      await stage.redis!.start();
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
      await stage.redis!.kill();
      await stage.redis!.start();
      await stage.recovered();
    }
  },
};

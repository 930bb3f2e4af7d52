/** What happens to the instances. */
import type { Scenario } from '../scenario.ts';

export const instanceKilled: Scenario = {
  number: 3,
  name: 'instance-kill',
  what: 'kill -9 of an instance that pages are connected to and the publisher sends through',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.15);
      const instance = stage.instances[i % stage.instances.length]!;
      await instance.kill();
      await stage.recovered();
      await instance.start();
    }
  },
};

export const instanceTerminated: Scenario = {
  number: 4,
  name: 'instance-sigterm',
  what: 'SIGTERM to an instance: it drains and ends with status 0',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.15);
      const instance = stage.instances[i % stage.instances.length]!;
      const [status] = await Promise.all([instance.terminate(), stage.recovered()]);
      stage.check(status === 0, `SIGTERM ended an instance with ${status}`);
      await instance.start();
    }
  },
};

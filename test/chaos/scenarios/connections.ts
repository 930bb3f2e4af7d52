/** What happens between the pages and the instances. */
import type { Scenario } from '../scenario.ts';

export const clientCut: Scenario = {
  number: 1,
  name: 'client-cut',
  what: 'the TCP connections of all pages are cut, again and again; they come back on another instance',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 3 : 10); i++) {
      await stage.more(0.08);
      stage.front.cut({ share: i % 2 === 0 ? 1 : 0.5 });
      await stage.recovered();
    }
  },
};

export const halfOpen: Scenario = {
  number: 2,
  name: 'half-open',
  what: 'the packets of all pages vanish without a FIN; the heartbeat must find out',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.1);
      stage.front.freeze();
      await stage.recovered();
    }
  },
};

/** Pages in a hurry, and pages that are slow. */
import { ask } from '../../support/redis-groups.ts';
import type { Scenario } from '../scenario.ts';

export const strictMode: Scenario = {
  name: 'strict-mode',
  what: 'pages leave their topics and join them again twice in one turn, again and again, now and then as their connection is cut',
  expects: 'complete',
  setting: { topics: ['news', 'constructor', '__proto__'] },
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 6 : 40); i++) {
      await stage.more(0.02);
      for (const page of stage.pages) page.remount!();
      if (i % 3 === 1) stage.front.cut({ share: 0.5 });
      // And while what the first asked for is still on its way.
      if (i % 3 === 2) setImmediate(() => stage.pages.forEach((page) => void page.remount!()));
      await stage.recovered();
    }
  },
};

const BIG = 900_000;

export const slowLink: Scenario = {
  name: 'slow-link',
  what: 'one of two pages is behind a thin line, on which a message takes several times what the heartbeat waits; transients come meanwhile',
  expects: 'complete',
  // The long form has the figures of the field: 8 kB/s, and a server that pings every 25 s. The short one divides time by 25.
  setting: ({ isShort }) => ({
    instances: 1,
    users: 1,
    topics: [],
    padding: isShort ? BIG : BIG / 2,
    interval: isShort ? 5500 : 70_000,
    messages: 3,
    options: { heartbeat: { ping: isShort ? 1000 : 25_000 } },
    client: { heartbeat: { interval: 600_000, timeout: 600_000 } },
  }),
  async play(stage) {
    const before = stage.pages.map((page) => page.connections);
    stage.check(
      stage.front.throttle(stage.plan.isShort ? 200_000 : 8000, { share: 0.5 }) === 1,
      'no slow page',
    );
    const transients = setInterval(() => {
      ask(stage.redis, 'PUBLISH', `tidings:user:${stage.users[0]}`, '{"transient":true}').catch(() => {});
    }, 500);
    try {
      await stage.more(1);
      await stage.recovered();
    } finally {
      clearInterval(transients);
    }
    const again = stage.pages.map((page, i) => page.connections - before[i]!);
    stage.check(
      again.every((times) => times === 0),
      `pages that were only slow came back ${again.join(' and ')} times`,
    );
  },
};

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

/**
 * A line of 8 kB/s and a server that pings every 25 s, as in the field, in a shorter time. On loopback the kernel
 * takes some 9 MB off a sender's hands, whatever the line is like: a message is larger than that, and the line so
 * fast that the kernel's part is through before two pings have gone unanswered. The message as a whole is not.
 */
const BIG = 16_000_000;
const RATE = 1_800_000;
const PING = 3_500;

export const slowLink: Scenario = {
  name: 'slow-link',
  what: 'one of two pages is behind a thin line, on which a message takes longer than the heartbeat waits; transients come meanwhile',
  expects: 'complete',
  setting: ({ isShort }) => ({
    instances: 1,
    users: 1,
    topics: [],
    padding: BIG,
    interval: 11_000,
    messages: isShort ? 2 : 4,
    options: {
      limits: { message: 2 * BIG, outbox: 2 * BIG },
      heartbeat: { ping: PING },
      retention: { inbox: { maxMessages: 10 } },
    },
    client: { heartbeat: { interval: 600_000, timeout: 600_000 } },
  }),
  async play(stage) {
    stage.check(
      stage.front.throttle(RATE, { share: 0.5 }) === 1,
      'no page is slow: the scenario proves nothing',
    );
    const transients = setInterval(() => {
      ask(stage.redis, 'PUBLISH', `tidings:user:${stage.users[0]}`, '{"transient":true}').catch(() => {});
    }, 500);
    try {
      await stage.until('all promises', () => stage.publisher.total >= stage.plan.messages);
      const start = performance.now();
      await stage.until('the last message to be everywhere', () => stage.isLevel(stage.plan.messages));
      const seconds = (performance.now() - start) / 1000;
      stage.note(`the slow page had the last message ${seconds.toFixed(1)} s after its turn had come`);
    } finally {
      clearInterval(transients);
    }
    const [ends] = stage.pages.map((page) => page.ends.join(', ')).filter((text) => text !== '');
    stage.check(ends === undefined, `a page that was only slow lost its connection: ${ends}`);
  },
};

/** Pages in a hurry, and pages that are slow. */

import type { Scenario } from '../scenario.ts';
import { foreignBroker } from '../store-target.ts';

export const strictMode: Scenario = {
  name: 'strict-mode',
  what: 'pages leave their topics and join them again twice in one turn, again and again, now and then as their connection is cut',
  expects: 'complete',
  happensTo: 'pages',
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
 * All that is sent takes the line longer than a page may take nothing. The short form has a line eight times as fast, and
 * times that are shorter by as much. The kernel keeps 200 kB of it, and tells of progress in steps of 150 kB.
 */
const RATE = 8_000;
const PADDING = 70_000;
const MESSAGES = 10;
const HURRY = 8;

export const slowLink: Scenario = {
  name: 'slow-link',
  what: 'one of two pages is behind a line of 8 kB/s, and its outbox overflows with large messages; transients come meanwhile',
  expects: 'complete',
  happensTo: 'pages',
  // Another program sends the transients.
  stores: ['redis', 'postgres', 'cluster'],
  setting: ({ isShort }) => ({
    instances: 1,
    users: 1,
    topics: [],
    isThin: true,
    padding: PADDING,
    interval: 100,
    messages: MESSAGES,
    options: {
      limits: { outbox: PADDING / 2, stall: 48_000 / (isShort ? HURRY : 1) },
      heartbeat: { ping: 25_000 / (isShort ? HURRY : 1) },
    },
    client: { heartbeat: { interval: 600_000, timeout: 600_000 } },
  }),
  async play(stage) {
    stage.check(
      stage.front.throttle(stage.plan.isShort ? HURRY * RATE : RATE, { share: 0.5 }) === 1,
      'no page is slow: the scenario proves nothing',
    );
    const foreign = await foreignBroker(stage.store);
    const transients = setInterval(() => {
      foreign.notify(`user:${stage.users[0]}`, Buffer.from('{"transient":true}')).catch(() => {});
    }, 500);
    try {
      await stage.until('all promises', () => stage.publisher.total >= stage.plan.messages);
      await stage.publisher.stop();
      const start = performance.now();
      await stage.until('the first half to be everywhere', () => stage.isLevel(MESSAGES / 2));
      await stage.until('the last message to be everywhere', () => stage.isLevel(stage.plan.messages));
      const seconds = (performance.now() - start) / 1000;
      stage.note(`the slow page had the last message ${seconds.toFixed(1)} s after its turn had come`);
    } finally {
      clearInterval(transients);
      await foreign.close();
    }
    const [ends] = stage.pages.map((page) => page.ends.join(', ')).filter((text) => text !== '');
    stage.check(ends === undefined, `a page that was only slow lost its connection: ${ends}`);
  },
};

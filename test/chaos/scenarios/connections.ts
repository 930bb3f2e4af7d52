/** What happens between the pages and the instances. */
import type { Scenario } from '../scenario.ts';

export const clientCut: Scenario = {
  number: 1,
  name: 'client-cut',
  what: 'the TCP connections of all pages are cut, again and again; they come back on another instance',
  expects: 'complete',
  happensTo: 'pages',
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
  happensTo: 'pages',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.1);
      stage.front.freeze();
      await stage.recovered();
    }
  },
};

export const slowReader: Scenario = {
  number: 15,
  name: 'slow-reader',
  what: 'half of the pages take nothing for a while; their instance closes them with 4430, the rest is read from the log',
  expects: 'complete',
  happensTo: 'pages',
  setting: ({ isShort }) => ({
    // Enough to fill what the kernel keeps for a connection that nobody reads.
    padding: isShort ? 200_000 : 30_000,
    options: { limits: { outbox: 256 * 1024, stall: 1000 } },
    // It is the server that must find out here.
    client: { heartbeat: { interval: 60_000, timeout: 60_000 } },
  }),
  async play(stage) {
    const before = stage.pages.reduce((sum, page) => sum + page.connections, 0);
    for (let i = 0; i < (stage.plan.isShort ? 1 : 2); i++) {
      const resume = stage.front.stall({ share: 0.5 });
      await stage.more(0.45);
      // How much the kernel keeps for a connection that nobody reads differs between machines.
      await stage.until('a page to be closed', async () => (await stage.sessions()) < stage.pages.length);
      resume();
      await stage.recovered();
    }
    const again = stage.pages.reduce((sum, page) => sum + page.connections, 0) - before;
    stage.note(`pages were closed and came back ${again} times`);
    stage.check(again > 0, 'no page was closed: the scenario proves nothing');
  },
};

export const offlineTooLong: Scenario = {
  number: 16,
  name: 'offline-too-long',
  what: 'pages are offline until the log no longer has what they missed',
  expects: 'told',
  happensTo: 'pages',
  setting: { options: { retention: { inbox: { maxMessages: 20 }, topic: { maxMessages: 20 } } } },
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      const away = stage.pages.filter((_, k) => k % 2 === 0);
      for (const page of away) page.close();
      const goal = new Map([...stage.publisher.promised].map(([stream, n]) => [stream, n + 30]));
      await stage.until('more than is retained', () =>
        [...goal].every(([stream, n]) => stage.publisher.promised.get(stream)! >= n),
      );
      for (const page of away) page.reopen();
      await stage.recovered();
    }
  },
};

export const twoDevices: Scenario = {
  number: 17,
  name: 'two-devices',
  what: 'a user has two devices; one is switched off, loses its memory, and goes on behind what it has acknowledged',
  expects: 'complete',
  happensTo: 'pages',
  // Acknowledgements are of inboxes.
  setting: { topics: [], pages: 1 },
  async play(stage) {
    const devices = stage.users.map((user) => stage.open(user, { device: `phone-of-${user}`, ackDelay: 20 }));
    await stage.more(0.05);
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      for (const device of devices) device.close();
      await stage.more(0.2);
      for (const [k, device] of devices.entries()) {
        const options = { device: `phone-of-${device.user}`, ackDelay: 20, start: 'now' } as const;
        devices[k] = stage.open(device.user, options, device);
      }
      await stage.recovered();
    }
  },
};

/** Ten tabs that share one connection, in a real browser: whatever becomes of the leader, every tab gets everything once. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { CDPSession } from 'playwright-core';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { connect, INSECURE, Site, type Tab } from './shared-tabs.ts';

const TABS = 10;
/** Milliseconds between two messages: 50 a second. */
const PACE = 20;

describe('tabs that share a connection', needs('chromium'), () => {
  let site: Site;
  /** Dora is not let in. */
  let isShut = false;
  before(async () => {
    site = await Site.start({
      topics: { room: { presence: true } },
      authorize: {
        publish: () => true,
        subscribe: () => true,
        presence: () => true,
        connect: ({ user }) => !(isShut && user === 'dora'),
      },
    });
  });
  after(() => site?.stop());
  afterEach(() => {
    site.policy = '';
    return site.fresh();
  });

  const cdp = ({ page }: Tab): Promise<CDPSession> => site.context.newCDPSession(page);
  const seenBy = (tab: Tab): Promise<unknown[]> => tab.page.evaluate('seen') as Promise<unknown[]>;

  /** Sends from before until after `act`; then all `tabs` have had all of it, once and in order. */
  async function whileMailComes(tabs: Tab[], act: () => Promise<unknown>): Promise<void> {
    const before = new Map(
      await Promise.all(tabs.map(async (tab) => [tab, (await seenBy(tab)).length] as const)),
    );
    const sent: number[] = [];
    let isOver = false;
    const sending = (async () => {
      while (!isOver) {
        const n = Date.now() * 1000 + sent.length;
        sent.push(n);
        await site.push.send('alice', n);
        await new Promise((resolve) => setTimeout(resolve, PACE));
      }
    })();
    try {
      await until('messages', () => sent.length > 10);
      await act();
      const count = sent.length;
      await until('messages afterwards', () => sent.length > count + 10);
    } finally {
      isOver = true;
      await sending;
    }
    for (const tab of tabs) {
      const had = () => seenBy(tab).then((seen) => seen.slice(before.get(tab)));
      await until('all messages', async () => (await had()).length >= sent.length);
      assert.deepEqual(await had(), sent);
      assert.deepEqual(
        await tab.page.evaluate(`log.filter(([name]) => name === 'error' || name === 'gap')`),
        [],
      );
      assert.deepEqual(tab.errors, []);
    }
  }

  /** The others have a connection again, which is another one than `was`. */
  const taken = (was: string): Promise<unknown> =>
    until('another session', async () =>
      (await site.push.sessions('alice')).some(({ session }) => session !== was),
    );

  test('ten tabs are one session; each gets all, whoever is closed, crashes, leaves or goes by itself', async () => {
    let tabs = await site.openMany(TABS);
    await whileMailComes(tabs, async () => {});
    const ends: ((leader: Tab) => Promise<unknown>)[] = [
      ({ page }) => page.close(),
      async (tab) => {
        (await cdp(tab)).send('Page.crash').catch(() => {});
      },
      ({ page }) => page.goto('about:blank'),
      ({ page }) => page.evaluate('client.close()'),
    ];
    for (const end of ends) {
      const was = await site.untilOne();
      const [leader, ...others] = (await site.leaderFirst(tabs)) as [Tab, ...Tab[]];
      tabs = others;
      await whileMailComes(tabs, async () => {
        await end(leader);
        await taken(was);
      });
    }
    await site.untilOne();
  });

  test('a leader in the back-forward cache leads no more; when it comes back it gets what it has missed', async () => {
    const tabs = await site.openMany(3);
    const [leader, ...others] = tabs as [Tab, Tab, Tab];
    const was = await site.untilOne();
    const session = await cdp(leader);
    await whileMailComes(others, async () => {
      await leader.page.goto(`${site.url()}?elsewhere`);
      await taken(was);
    });
    await session.send('Runtime.evaluate', { expression: 'history.back()' });
    const evaluate = async (expression: string): Promise<unknown> => {
      const page = await cdp(leader);
      const { result } = await page.send('Runtime.evaluate', { expression, returnByValue: true });
      await page.detach();
      return result.value;
    };
    const all = JSON.stringify(await seenBy(others[0]));
    await until('the page to come back', () => evaluate(`typeof client === 'object'`));
    await until('what it has missed', async () => (await evaluate('JSON.stringify(seen)')) === all);
    await site.untilOne();
  });

  test('a leader that is told to freeze hands over, and when it wakes up finds its place', async () => {
    const [leader, ...others] = (await site.openMany(3)) as [Tab, Tab, Tab];
    const was = await site.untilOne();
    await whileMailComes(others, async () => {
      // Pages of a headless browser are never hidden, and what is seen can't be frozen: only what a page is told of it.
      await leader.page.evaluate(`document.dispatchEvent(new Event('freeze'))`);
      await taken(was);
    });
    await leader.page.evaluate(`document.dispatchEvent(new Event('resume'))`);
    const all = JSON.stringify(await seenBy(others[0]));
    await until('what it has missed', async () => JSON.stringify(await seenBy(leader)) === all);
    await site.untilOne();
  });

  test('a leader whose process is stopped is replaced, and drops what it has when it goes on', async () => {
    const tabs = await site.openMany(3);
    const pids = new Map<Tab, number>();
    for (const tab of tabs) pids.set(tab, await processOf(site, tab));
    const was = await site.untilOne();
    const [leader] = (await site.leaderFirst(tabs)) as [Tab];
    const pid = pids.get(leader) as number;
    // Chromium may put two of them in one process.
    const others = tabs.filter((tab) => pids.get(tab) !== pid);
    assert.notEqual(others.length, 0);
    await whileMailComes(others, async () => {
      process.kill(pid, 'SIGSTOP');
      await taken(was).finally(() => process.kill(pid, 'SIGCONT'));
    });
    const all = JSON.stringify(await seenBy(others[0] as Tab));
    await until('what it has missed', async () => JSON.stringify(await seenBy(leader)) === all);
    await site.untilOne();
  });

  test('a leader that loses its network, or stands still, is replaced', async () => {
    const tabs = await site.openMany(4);
    const [first, second, ...others] = tabs as [Tab, Tab, Tab, Tab];
    const was = await site.untilOne();
    const session = await cdp(first);
    const network = (offline: boolean) =>
      session.send('Network.emulateNetworkConditions', {
        offline,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: -1,
      });
    await whileMailComes(tabs, async () => {
      await session.send('Network.enable');
      await network(true);
      await taken(was);
    });
    await network(false);
    await session.send('Network.disable');
    const [now, ...rest] = (await site.leaderFirst([second, ...others])) as [Tab, Tab, Tab];
    const sessions = (await site.push.sessions('alice')).map((each) => each.session);
    await whileMailComes(rest, async () => {
      // As long as the others need, whatever the pace of the machine.
      await site.standstill(now, () =>
        until('another session', async () =>
          (await site.push.sessions('alice')).some((each) => !sessions.includes(each.session)),
        ),
      );
    });
    const all = JSON.stringify(await seenBy(rest[0]));
    await until('what it has missed', async () => JSON.stringify(await seenBy(now)) === all);
  });

  test('a leader whose ticket does not come lets another tab lead, and follows', async () => {
    const slow = `{ user: 'alice', ticket: () => (globalThis.isHanging ? new Promise(() => {}) : undefined) }`;
    const tabs = await site.openMany(2, slow);
    tabs.push(await site.open());
    const was = await site.untilOne();
    for (const { page } of tabs) await page.evaluate('var isHanging = true');
    const [leader, ...others] = (await site.leaderFirst(tabs)) as [Tab, ...Tab[]];
    await whileMailComes(others, async () => {
      await leader.page.close();
      await taken(was);
    });
    await site.untilOne();
  });

  test("two users of one browser have a connection each, and neither sees the other's mail", async () => {
    const alice = await site.openMany(2);
    const bob = await site.open(`{ user: 'bob' }`);
    const [first] = alice as [Tab];
    await site.push.send('alice', 'for alice');
    await site.push.send('bob', 'for bob');
    for (const tab of alice) await until('it', async () => (await seenBy(tab)).length > 0);
    await until('it', async () => (await seenBy(bob)).length > 0);
    // The first page signs in anew, as somebody else: alone.
    await first.page.evaluate('client.close()');
    await connect(first, `{ user: 'bob' }`);
    await site.untilOne('alice');
    await site.untilOne('bob');
    await site.push.send('alice', 'more for alice');
    await site.push.send('bob', 'more for bob');
    await until('it', async () => (await seenBy(alice[1] as Tab)).length > 1);
    await until('it', async () => (await seenBy(first)).includes('more for bob'));
    assert.deepEqual(await seenBy(alice[1] as Tab), ['for alice', 'more for alice']);
    assert.deepEqual(await seenBy(bob), ['for bob', 'more for bob']);
    assert.deepEqual(await seenBy(first), ['more for bob']);
  });

  const toldWhy = async (host?: string): Promise<void> => {
    const tabs: Tab[] = [];
    for (const _ of [1, 2, 3]) tabs.push(await site.open(`{ user: 'dora' }`, host));
    /** How many tabs have this session, once the others are closed. */
    const areIn = async (session: string): Promise<number> => {
      const expression = `client.state.name === 'closed' ? '' : log.findLast(([name]) => name === 'open')[1].session`;
      const all = await Promise.all(tabs.map(({ page }) => page.evaluate(expression)));
      return all.every((one) => !one || one === session) ? all.filter(Boolean).length : 0;
    };
    await until('all in', async () => (await areIn(await site.untilOne('dora'))) === 3);
    // Those who may come in again stay, and what was said is forgotten.
    await site.push.disconnect('dora', { reason: 'only there' });
    await until('two in', async () => (await areIn(await site.untilOne('dora'))) === 2);
    isShut = true;
    await site.push.disconnect('dora', { reason: 'the account is closed' });
    const reason = ({ page }: Tab) => page.evaluate('client.state.reason');
    for (const tab of tabs) await until('the end', () => reason(tab));
    const reasons = await Promise.all(tabs.map(reason));
    assert.deepEqual(reasons.sort(), ['only there', 'the account is closed', 'the account is closed']);
    // Whoever tries again is told what is so now.
    const [tab] = tabs as [Tab];
    await tab.page.evaluate('client.connect()');
    await until('refused', async () => (await reason(tab)) === 'the application does not let this user in');
    isShut = false;
  };
  test('signed out everywhere: each tab is told why, not only the one that had the connection', () =>
    toldWhy());
  test('signed out everywhere, where a shared worker keeps the lock', () => toldWhy(INSECURE));

  test('topics: each tab has its own, and the connection those of all', async () => {
    const [a, b] = (await site.openMany(2)) as [Tab, Tab];
    await a.page.evaluate(`client.subscribe('news')`);
    await b.page.evaluate(`Promise.all([client.subscribe('news'), client.subscribe('sports')])`);
    await site.push.publish('news', 'n1');
    await site.push.publish('sports', 's1');
    await until('both', async () => (await seenBy(b)).length === 2);
    assert.deepEqual(await seenBy(a), ['n1']);
    await b.page.evaluate(`client.unsubscribe('news')`);
    assert.equal(
      ((await a.page.evaluate(`client.publish('news', 'n2')`)) as { channel: string }).channel,
      'news',
    );
    await site.push.publish('sports', 's2');
    await until('it', async () => (await seenBy(a)).length === 2);
    await until('it', async () => (await seenBy(b)).length === 3);
    assert.deepEqual(await seenBy(b), ['n1', 's1', 's2']);
  });

  test('presence: who asks is told, whoever leads and whoever else is on the topic; others are not', async () => {
    const tabs = await site.openMany(3);
    const [leader, a, b] = tabs as [Tab, Tab, Tab];
    for (const { page } of [leader, b]) await page.evaluate(`client.subscribe('room')`);
    await a.page.evaluate(`client.subscribe('room', { presence: true })`);
    const told = ({ page }: Tab): Promise<{ users?: string[]; joined?: string[]; left?: string[] }[]> =>
      page.evaluate(`log.filter(([name]) => name === 'presence').map(([, event]) => event)`);
    const areThere = async (...names: string[]): Promise<boolean> => {
      let there = new Set<string>();
      for (const { users = [...there], joined = [], left = [] } of await told(a)) {
        there = new Set([...users, ...joined]);
        for (const name of left) there.delete(name);
      }
      return [...there].sort().join() === names.join();
    };
    await until('alice', () => areThere('alice'));
    const bob = await site.open(`{ user: 'bob', topics: ['room'] }`);
    await until('bob, too', () => areThere('alice', 'bob'));
    // One that has the topic already comes to it anew, from where it was.
    await b.page.evaluate(`document.dispatchEvent(new Event('freeze'))`);
    await b.page.evaluate(`document.dispatchEvent(new Event('resume'))`);
    await bob.page.close();
    await until('alice alone', () => areThere('alice'));
    const was = await site.untilOne();
    await leader.page.close();
    await taken(was);
    await site.open(`{ user: 'bob', topics: ['room'] }`);
    await until('bob again', () => areThere('alice', 'bob'));
    assert.deepEqual(await told(b), []);
    assert.deepEqual([...a.errors, ...b.errors], []);
  });

  test('tabs that keep a device id of their own have a connection of their own', async () => {
    const own = `{ user: 'erin', storage: sessionStorage }`;
    const tabs = [await site.open(own), await site.open(own)] as [Tab, Tab];
    await until('two sessions', async () => (await site.push.sessions('erin')).length === 2);
    await site.push.send('erin', 1);
    for (const tab of tabs) await until('it', async () => (await seenBy(tab)).length === 1);
    // What comes while its page is loaded anew, it gets by what it has acknowledged itself.
    const [tab] = tabs;
    await until('the acknowledgement', () =>
      tab.page.evaluate(`new Promise((done) => client.on('acked', done))`).then(() => true),
    );
    await tab.page.goto('about:blank');
    await site.push.send('erin', 2);
    await tab.page.goto(site.url());
    await connect(tab, own);
    await until('what it has missed', async () => (await seenBy(tab)).length === 1);
    assert.deepEqual(await seenBy(tab), [2]);
  });

  test('where the content policy forbids the script or the worker, each tab connects by itself', async () => {
    // What a test evaluates needs `unsafe-eval`.
    for (const [host, policy] of [
      ['localhost', `script-src ${site.url()}tidings.js 'unsafe-eval'`],
      [INSECURE, `worker-src 'none'`],
    ] as const) {
      site.policy = policy;
      const tabs = [await site.open(undefined, host), await site.open(undefined, host)];
      await until('two sessions', async () => (await site.push.sessions('alice')).length === 2);
      await site.push.send('alice', host);
      for (const tab of tabs) {
        await until('it', async () => (await seenBy(tab)).length === 1);
        assert.deepEqual(await seenBy(tab), [host]);
        assert.deepEqual(tab.errors, []);
        await tab.page.close();
      }
    }
  });

  test('what is read in one tab is read in all, also in those that come later', async () => {
    // A user without mail from before.
    const carol = `{ user: 'carol' }`;
    const [a, b] = [await site.open(carol), await site.open(carol)];
    await site.untilOne('carol');
    for (const n of [1, 2, 3]) await site.push.send('carol', n);
    const unread = (tab: Tab): Promise<unknown> => tab.page.evaluate('client.inbox.counts?.unread');
    for (const tab of [a, b]) await until('three', async () => (await unread(tab)) === 3);
    await b.page.evaluate('client.inbox.markAllRead()');
    for (const tab of [a, b]) await until('none', async () => (await unread(tab)) === 0);
    await site.push.send('carol', 4);
    const c = await site.open(carol);
    for (const tab of [a, b, c]) await until('one', async () => (await unread(tab)) === 1);
    await a.page.close();
    await b.page.evaluate('client.inbox.markAllRead()');
    for (const tab of [b, c]) await until('none', async () => (await unread(tab)) === 0);
    await site.untilOne('carol');
  });

  test('on an insecure origin a shared worker keeps the lock', async () => {
    const tabs = await site.openMany(4, undefined, INSECURE);
    assert.equal(await (tabs[0] as Tab).page.evaluate('isSecureContext || !!navigator.locks'), false);
    const was = await site.untilOne();
    const leader = tabs.shift() as Tab;
    await whileMailComes(tabs, async () => {
      await leader.page.close();
      await taken(was);
    });
    await site.untilOne();
  });

  test('a sandboxed frame connects by itself', async () => {
    const tab = await site.open();
    await tab.page.evaluate(`new Promise((loaded) => {
      const frame = document.createElement('iframe');
      frame.sandbox = 'allow-scripts';
      frame.src = '/';
      frame.onload = loaded;
      document.body.append(frame);
    })`);
    const frame = tab.page.frames()[1]!;
    await frame.evaluate(`
      var seen = [];
      var client = tidings.connect({ user: 'alice', share: true });
      client.on('message', ({ data }) => { seen.push(data); });
    `);
    await until('connected', async () => (await frame.evaluate('client.state.name')) === 'connected');
    await until('two sessions', async () => (await site.push.sessions('alice')).length === 2);
    await site.push.send('alice', 'hello');
    await until('it', () => frame.evaluate('seen.length'));
    await until('it', async () => (await seenBy(tab)).length);
    assert.deepEqual(tab.errors, []);
  });

  test('seven tabs over xhr-streaming and HTTP/1.1 load, and get everything', async () => {
    await site.context.addInitScript('delete globalThis.WebSocket');
    const tabs = await site.openMany(7);
    await whileMailComes(tabs, async () => {});
    const was = await site.untilOne();
    const leader = tabs.shift() as Tab;
    await whileMailComes(tabs, async () => {
      await leader.page.close();
      await taken(was);
    });
  });
});

/** The renderer's process of a page: the one that gets busy when the page does. */
async function processOf({ browser }: Site, { page }: Tab): Promise<number> {
  const session = await browser.newBrowserCDPSession();
  const usage = async (): Promise<Map<number, number>> => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    return new Map(
      processInfo.filter(({ type }) => type === 'renderer').map(({ id, cpuTime }) => [id, cpuTime]),
    );
  };
  // On a busy machine another one may have been busier: the same must be it twice, by far.
  for (let last = 0, n = 0; n < 100; n++) {
    const before = await usage();
    await page.evaluate('for (const end = Date.now() + 300; Date.now() < end; );');
    const busy = [...(await usage())].map(([pid, time]) => [pid, time - (before.get(pid) ?? 0)] as const);
    const [first, second] = busy.sort(([, a], [, b]) => b - a);
    const [pid, time] = first!;
    if (pid === last && time > 2 * (second?.[1] ?? 0)) {
      await session.detach();
      return pid;
    }
    last = pid;
  }
  throw new Error('no process was by far the busiest one twice in a row');
}

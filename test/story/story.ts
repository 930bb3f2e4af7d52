/** What happens in the story, chapter by chapter. */
import assert from 'node:assert/strict';
import type { Browser } from 'playwright-core';
import { until } from '../support/net.ts';
import { SHORT_SESSION, type Stack } from './stack.ts';
import { Person, type Tab } from './tabs.ts';

const WAYS = ['sender', 'http-client', 'url-connection', 'rest-template', 'xadd', 'publish'];
/** Mails of the rolling update: while fewer have come, the next instance is not touched. */
const FLOW = 25;

export interface Chapter {
  name: string;
  /** @returns a figure to show */
  play(): Promise<string | undefined>;
}

export function story(stack: Stack, browser: Browser): { chapters: Chapter[]; errors(): string[] } {
  const people: Person[] = [];
  const person = async (name: string): Promise<Person> => {
    const someone = await Person.open(browser, stack.url, name);
    people.push(someone);
    return someone;
  };
  let alice: Person;
  let zhang: Person;
  let root: Person | undefined;

  /** Which instances the user's pages are connected to, by the admin API of the second one. */
  async function instancesOf(user: string, of = stack.pushes[1]): Promise<string[]> {
    const answer = await fetch(`${of.url}/api/users/${encodeURIComponent(user)}/sessions`, {
      headers: { Authorization: `Bearer ${stack.token}` },
    });
    assert.equal(answer.status, 200);
    const sessions = (await answer.json()) as { instance: string }[];
    return sessions.map(({ instance }) => instance);
  }

  /** Loads one tab after another anew until they are on both instances: nginx takes these by turns. */
  async function onBoth(someone: Person): Promise<void> {
    let turn = 0;
    await until(`${someone.name}'s pages on both instances`, async () => {
      if (new Set(await instancesOf(someone.name)).size === 2) return true;
      const tab = someone.tabs[turn++ % someone.tabs.length]!;
      await tab.page.reload();
      await tab.connected();
      return false;
    });
  }

  /** Pages with a script of their own wait for ten seconds, by their own clock, before they come back. */
  async function reconnected(someone: Person): Promise<void> {
    await until(`${someone.name}'s pages to be connected again`, async () => {
      const states = await Promise.all(someone.tabs.map((tab) => tab.state()));
      const waiting = someone.tabs.filter((tab, i) => tab.kind === 'plain' && states[i] !== '已连接');
      for (const tab of waiting) await tab.later(10);
      return states.every((state) => state === '已连接');
    });
  }

  async function everyTab(someone: Person, id: string): Promise<void> {
    await Promise.all(someone.tabs.map((tab) => tab.has(id)));
  }

  /** What the administrator does. @returns when it was answered */
  async function asAdmin(path: string, form: Record<string, string>): Promise<number> {
    if (root === undefined) {
      root = await person('root');
      assert.equal(await root.signIn('root-1'), undefined);
    }
    const answer = await root.context.request.post(path, { form });
    assert.equal(answer.status(), 204, path);
    return performance.now();
  }

  /**
   * Mail from one page to zhang, one after another, until it is stopped. What the application could not send is sent
   * again with the same id.
   */
  function flow(): { sent: string[]; again: number; stop(): Promise<void> } {
    const state = { sent: [] as string[], again: 0, stop: async (): Promise<void> => {} };
    let isOn = true;
    const run = async (): Promise<void> => {
      for (let n = 1; isOn; n++) {
        const id = `flow-${n}-${Date.now()}`;
        const form = { to: zhang.name, text: `第 ${n} 封`, way: 'sender', id };
        const isSent = async (): Promise<boolean> => {
          const answer = await alice.context.request
            .post('/mail', { form, maxRedirects: 0 })
            .catch(() => undefined);
          if (answer?.status() !== 204) state.again++;
          return answer?.status() === 204;
        };
        await until(`mail ${n} to be sent`, isSent);
        state.sent.push(id);
      }
    };
    const running = run();
    running.catch(() => {});
    state.stop = () => {
      isOn = false;
      return running;
    };
    return state;
  }

  /** In the tab with tidings.js: all, once, in order. */
  async function complete(tab: Tab, sent: string[]): Promise<void> {
    await tab.has(sent.at(-1)!);
    const wanted = new Set(sent);
    assert.deepEqual(
      (await tab.mail()).filter((id) => wanted.has(id)),
      sent,
    );
  }

  const chapters: Chapter[] = [
    {
      name: 'sign in: who is not signed in is sent to the form, a wrong password is refused',
      async play() {
        alice = await person('alice');
        assert.equal(await alice.signIn('guess'), '用户名或密码错误');
        assert.equal(await alice.signIn('alice-1'), undefined);
        zhang = await person('张伟');
        assert.equal(await zhang.signIn('zhangwei-1'), undefined);
        return undefined;
      },
    },
    {
      name: 'three tabs each, two with a script of their own and one with tidings.js, on both instances',
      async play() {
        for (const someone of [alice, zhang]) {
          for (const kind of ['plain', 'plain', 'client'] as const) await someone.open(kind);
          await onBoth(someone);
        }
        const answer = await alice.context.request.get('/who');
        assert.equal(answer.status(), 404, 'what tidings asks is not for pages');
        return undefined;
      },
    },
    {
      name: `mail from Java by every way: ${WAYS.join(', ')}`,
      async play() {
        for (const way of WAYS) {
          const text = `${way}：你好，世界 😀 <b>&amp;"\\`;
          const id = await alice.tabs[0]!.write(zhang.name, text, way);
          await everyTab(zhang, id);
          for (const tab of zhang.tabs) assert.equal(await tab.text(id), `alice：${text}`);
        }
        for (const tab of zhang.tabs) {
          const mail = await tab.mail();
          assert.equal(mail.length, new Set(mail).size, 'none of them twice');
        }
        assert.deepEqual(await alice.tabs[0]!.mail(), [], 'and nobody else has it');
        return undefined;
      },
    },
    {
      name: 'the bell: mail arrives in it on all pages, is read on one, and the number goes on all',
      async play() {
        const numbers = (wanted: number): Promise<unknown> =>
          until(`${wanted} on the bells`, async () => {
            const shown = await Promise.all(alice.tabs.map((tab) => tab.unread()));
            return shown.every((number) => number === wanted);
          });
        const sessions = (await instancesOf('alice')).length;
        const phone = await person('alice');
        assert.equal(await phone.signIn('alice-1'), undefined);
        const far = await phone.open('client');
        for (const text of ['早上好', '下午的会议改到三点'])
          await zhang.tabs[0]!.write('alice', text, 'sender');
        await numbers(2);
        await until('the phone', async () => (await far.unread()) === 2);
        const begun = performance.now();
        await far.read('下午的会议');
        await numbers(1);
        const late = performance.now() - begun;
        await alice.tabs[0]!.read('早上好');
        await numbers(0);
        await until('the phone', async () => (await far.unread()) === 0);
        await phone.context.close();
        await until('the phone to be gone', async () => (await instancesOf('alice')).length <= sessions);
        return `read on the phone, gone on all pages ${late.toFixed(0)} ms after it was pressed`;
      },
    },
    {
      name: 'after a minute of silence the script of the page says "ping", and hears hb_ok',
      async play() {
        const tab = zhang.tabs[0]!;
        await tab.later(60);
        await until('hb_ok', () => tab.frames.includes('hb_ok'));
        await tab.later(60);
        assert.equal(await tab.state(), '已连接');
        return undefined;
      },
    },
    {
      name: 'a topic for those who have a role; the role is taken away from one of them',
      async play() {
        const dispatch = async (text: string): Promise<string> => {
          const id = `dispatch-${performance.now()}`;
          const answer = await alice.context.request.post('/dispatch', { form: { text, id } });
          assert.equal(answer.status(), 204);
          return id;
        };
        const first = await dispatch('三号线晚点');
        await Promise.all([everyTab(alice, first), everyTab(zhang, first)]);
        await asAdmin('/admin/take-role', { name: zhang.name, role: 'dispatcher' });
        const second = await dispatch('三号线恢复');
        await everyTab(alice, second);
        const mail = await alice.tabs[0]!.write(zhang.name, '您已不是调度员', 'sender');
        await everyTab(zhang, mail);
        for (const tab of zhang.tabs) assert.ok(!(await tab.mail()).includes(second), tab.name);
        const refused = await zhang.context.request.post('/dispatch', {
          form: { text: '', id: '' },
          maxRedirects: 0,
        });
        assert.notEqual(refused.status(), 204);
        return undefined;
      },
    },
    {
      name: 'an instance is killed while mail flows: tidings.js misses nothing, the script comes back after 10 s',
      async play() {
        const mail = flow();
        await until('mail to flow', () => mail.sent.length > FLOW);
        await stack.pushes[0].program.kill();
        const before = mail.sent.length;
        await until('mail to flow on', () => mail.sent.length > before + FLOW);
        for (const someone of [alice, zhang]) {
          await reconnected(someone);
          await until('all to be on the other one', async () => {
            const names = await instancesOf(someone.name);
            return names.length >= someone.tabs.length && names.every((name) => name === 'tidings-2');
          });
        }
        await mail.stop();
        await complete(zhang.tabs[2]!, mail.sent);
        await everyTab(zhang, await alice.tabs[2]!.write(zhang.name, '还在', 'sender'));
        await stack.pushes[0].start();
        return `${mail.sent.length} mails, ${mail.again} sent again by the page`;
      },
    },
    {
      name: 'a rolling update of all four instances while mail flows',
      async play() {
        await onBoth(zhang);
        const mail = flow();
        for (const instance of [...stack.pushes, ...stack.apps]) {
          const before = mail.sent.length;
          await until('mail to flow', () => mail.sent.length > before + FLOW);
          await instance.program.stop();
          const without = mail.sent.length;
          await until('mail to flow without it', () => mail.sent.length > without + FLOW);
          await instance.start();
        }
        await mail.stop();
        await complete(zhang.tabs[2]!, mail.sent);
        for (const someone of [alice, zhang]) await reconnected(someone);
        return `${mail.sent.length} mails, ${mail.again} sent again by the page`;
      },
    },
    {
      name: 'a session that runs out ends its pages; one that is used does not',
      async play() {
        const kim = await person('kim');
        assert.equal(await kim.signIn('kim-1'), undefined);
        let used = performance.now();
        let enough = Number.POSITIVE_INFINITY;
        const using = until('one and a half sessions', async () => {
          assert.equal((await kim.context.request.get('/', { maxRedirects: 0 })).status(), 200);
          used = performance.now();
          return used > enough;
        });
        using.catch(() => {});
        const tabs = [await kim.open('plain'), await kim.open('client')];
        enough = performance.now() + 1.5 * SHORT_SESSION;
        await using;
        for (const tab of tabs) assert.equal(await tab.state(), '已连接', 'while it is used');
        for (const tab of tabs) await tab.left();
        const waited = Math.min(...tabs.map(({ closed }) => closed)) - used;
        assert.ok(waited > SHORT_SESSION - 500, `ended after ${waited} ms`);
        return `${(waited / 1000).toFixed(1)} s after the last request`;
      },
    },
    {
      name: 'sign out in one tab: within a second the others have ended, on both instances; the login elsewhere stays',
      async play() {
        const home = await person('alice');
        assert.equal(await home.signIn('alice-1'), undefined);
        const other = await home.open('client');
        await onBoth(alice);
        const [first, ...others] = alice.tabs as [Tab, Tab, Tab];
        const answered = await first.signOut();
        for (const tab of others) assert.equal(await tab.left(), '您已退出登录');
        const late = Math.max(...others.map(({ closed }) => closed)) - answered;
        assert.ok(late < 1000, `the last of them ended ${late} ms after the answer`);
        const frames = others.map((tab) => tab.frames.length);
        const id = await zhang.tabs[0]!.write('alice', '在家吗？', 'sender');
        await other.has(id);
        await others[0]!.later(60);
        assert.deepEqual(
          others.map((tab) => tab.frames.length),
          frames,
          'nothing comes to those any more',
        );
        assert.equal((await alice.context.request.get('/', { maxRedirects: 0 })).status(), 302);
        return `${Math.max(0, late).toFixed(0)} ms`;
      },
    },
    {
      name: 'an account is locked: its pages end, and nobody signs in with it any more',
      async play() {
        const answered = await asAdmin('/admin/lock', { name: zhang.name });
        for (const tab of zhang.tabs) assert.equal(await tab.left(), '您的账号已被锁定');
        const late = Math.max(...zhang.tabs.map(({ closed }) => closed)) - answered;
        assert.ok(late < 1000, `the last of them ended ${late} ms after the answer`);
        await until('no page of his', async () => (await instancesOf(zhang.name)).length === 0);
        const again = await person(zhang.name);
        assert.equal(await again.signIn('zhangwei-1'), '该账号已被锁定');
        return `${Math.max(0, late).toFixed(0)} ms`;
      },
    },
  ];
  return { chapters, errors: () => people.flatMap((someone) => someone.errors()) };
}

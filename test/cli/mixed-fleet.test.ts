/**
 * A rolling upgrade: instances of an earlier release and of these sources serve the same users over one Redis, with pages that
 * have loaded the script of either. Nothing is lost or comes twice, whatever is said on the one side is known on the other, and
 * a fleet can be drained from old to new and back.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createContext, runInContext } from 'node:vm';
import { WebSocket } from 'ws';
import { clientBundle } from '../../scripts/client-bundle.ts';
import type { ConnectOptions, Client as PageClient } from '../../src/client/index.ts';
import { TcpProxy } from '../../src/prove/proxy.ts';
import { type Program, tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { release, releases } from '../support/releases.ts';
import { scriptOf } from '../support/scripts.ts';

const TOKEN = 'token';

class Instance {
  readonly program: Program;
  readonly port: number;

  private constructor(program: Program, port: number) {
    this.program = program;
    this.port = port;
  }

  static async start(t: TestContext, name: string, redis: RedisServer, cli?: string): Promise<Instance> {
    const program = tidings(
      t,
      [
        ...['serve', '--port', '0', '--redis', redis.url, '--instance', name, '--query-user', 'operator'],
        ...['--admin-token', TOKEN, '--topics', 'news', '--presence', 'news', '--drain', '20000'],
      ],
      cli === undefined ? {} : { program: cli },
    );
    const [port] = await program.line(/^listening on http:\/\/127\.0\.0\.1:(\d+)/m);
    const instance = new Instance(program, Number(port));
    await until(`${name} is ready`, async () => (await instance.get('/healthz')).ok);
    return instance;
  }

  async ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const response = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      method,
      headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    assert.ok(
      response.status < 300 || response.status === 503,
      `${method} ${path}: ${response.status} ${text}`,
    );
    return JSON.parse(text);
  }

  get(path: string) {
    return this.ask('GET', path);
  }

  send(user: string, data: unknown, query = '') {
    return this.ask('POST', `/api/users/${user}/messages${query}`, data);
  }

  /** Ends it as a deployment does. */
  async drain(): Promise<void> {
    this.program.process.kill('SIGTERM');
    assert.equal(await this.program.status(), 0, this.program.stderr);
  }
}

class FleetPage {
  readonly client: PageClient;
  readonly data: unknown[] = [];
  readonly gaps: unknown[] = [];
  instance = '';
  closeCode: number | undefined;

  /** @param door `sockjs`: a page whose browser has no WebSocket */
  constructor(t: TestContext, script: string, options: ConnectOptions, door: 'websocket' | 'sockjs') {
    // A page's globals and nothing of Node's.
    const timers = { setTimeout, clearTimeout, setInterval, clearInterval, queueMicrotask };
    const web = { URL, crypto, console, fetch, AbortController, TextDecoder, TextEncoder };
    const page = createContext({ ...timers, ...web, ...(door === 'websocket' && { WebSocket }) });
    runInContext(script, page);
    const quick = { reconnect: { min: 20, max: 200 }, ackDelay: 20 };
    this.client = page.tidings.connect({ ...quick, ...options });
    t.after(() => this.client.close());
    this.client.on('message', ({ data }) => this.data.push(data));
    this.client.on('gap', (gap) => this.gaps.push(gap));
    this.client.on('open', ({ instance }) => {
      this.instance = instance;
    });
    this.client.on('close', ({ code }) => {
      this.closeCode = code;
    });
  }
}

async function stage(t: TestContext, file: string) {
  const old = release(t, file);
  const scripts = { old: old.script, new: await scriptOf(clientBundle) };
  assert.notEqual(scripts.old, scripts.new);
  const redis = await startRedis();
  t.after(() => redis.stop());
  const start = (name: 'old' | 'new') => Instance.start(t, name, redis, name === 'old' ? old.cli : undefined);
  const [before, now] = await Promise.all([start('old'), start('new')]);
  const page = (
    t: TestContext,
    script: 'old' | 'new',
    port: number,
    user: string,
    options: ConnectOptions = {},
    door: 'websocket' | 'sockjs' = 'websocket',
  ): FleetPage =>
    new FleetPage(t, scripts[script], { url: `ws://127.0.0.1:${port}/socketServer`, user, ...options }, door);
  return { redis, start, old: before, new: now, page };
}

const patient = { ...needs('redis'), timeout: 300_000 };

for (const file of releases) {
  test(`${file} and this`, patient, async (t) => {
    const fleet = await stage(t, file);

    await t.test('what is said on either is known on both, to pages with either script', async (t) => {
      const instances = [fleet.old, fleet.new];
      const pages = instances.flatMap(({ port }) => [
        fleet.page(t, 'old', port, 'alice', { device: `old-${port}`, topics: ['news'] }),
        fleet.page(t, 'new', port, 'alice', { device: `new-${port}`, topics: ['news'] }),
      ]);
      const plain = instances.map(({ port }) => fleet.page(t, 'new', port, 'alice', { plain: true }));
      const all = [...pages, ...plain];
      await until('all pages', () => all.every(({ client }) => client.state.name === 'connected'));

      // Messages of either, with all that can go with one.
      const expected: unknown[] = [];
      for (let i = 0; i < 10; i++) {
        for (const [k, instance] of instances.entries()) {
          const data = { n: i, of: k, text: '世界\n'.repeat(i) };
          await instance.send('alice', data, ['', '?ttl=600000', `?replaces=key`][i % 3]);
          expected.push(data);
        }
      }
      for (const { data, gaps } of pages) {
        await until('all messages', () => data.length >= expected.length);
        assert.deepEqual(JSON.parse(JSON.stringify(data)), expected);
        assert.deepEqual(gaps, []);
      }
      for (const { data } of plain) {
        await until('all messages in plain mode', () => data.length >= expected.length);
        assert.deepEqual(
          data.map((text) => JSON.parse(String(text))),
          expected,
        );
      }
      const [first, second] = await Promise.all(instances.map((each) => each.get('/api/users/alice/counts')));
      assert.deepEqual(first, second);
      assert.ok(first.unread > 0);

      // A topic.
      for (const instance of instances) await instance.ask('POST', '/api/topics/news/messages', 'news');
      await until('the news', () => pages.every(({ data }) => data.length === expected.length + 2));
      const attendances = await Promise.all(instances.map((each) => each.get('/api/topics/news/presence')));
      assert.deepEqual(attendances[0], attendances[1]);

      // Marks, of a page with the old script, of one with the new, and by HTTP.
      const unread = (): (number | undefined)[] => pages.map(({ client }) => client.inbox.counts?.unread);
      await pages[0]!.client.inbox.markRead(pages[0]!.client.inbox.items[0]!);
      await until('one is read', () => unread().every((count) => count === first.unread - 1));
      await pages[3]!.client.inbox.archive(pages[3]!.client.inbox.items[1]!);
      await until('one is archived', () => unread().every((count) => count === first.unread - 2));
      await fleet.old.ask('POST', '/api/users/alice/marks', { as: 'seen' });
      await fleet.new.ask('POST', '/api/users/alice/marks', { as: 'read' });
      await until('all are read', () => unread().every((count) => count === 0));
      const histories = await Promise.all(pages.map(({ client }) => client.inbox.list({ limit: 50 })));
      for (const { items } of histories) {
        const plainItems = (list: typeof items): unknown => JSON.parse(JSON.stringify(list));
        assert.deepEqual(plainItems(items), plainItems(histories[0]!.items));
      }

      // Taken back.
      const { id } = await fleet.old.send('alice', 'a mistake');
      await until('it is there', () => pages.every(({ client }) => client.inbox.items[0]?.id === id));
      await fleet.new.ask('DELETE', `/api/users/alice/messages/${id}`);
      await until('it is gone', () => pages.every(({ client }) => client.inbox.items[0]?.id !== id));

      // Later: kept by the one, sent by whichever has the lease.
      const at = Date.now() + 300;
      for (const [k, instance] of instances.entries()) await instance.send('bob', `later ${k}`, `?at=${at}`);
      const bob = fleet.page(t, 'old', fleet.new.port, 'bob', { start: 'beginning' });
      await until('what was sent later', () => bob.data.length === 2);
      assert.deepEqual([...bob.data].sort(), ['later 0', 'later 1']);

      // Who is there.
      const sessions = await Promise.all(instances.map((each) => each.get('/api/users/alice/sessions')));
      const names = sessions.map((list) => list.map(({ id }: { id: string }) => id).sort());
      assert.deepEqual(names[0], names[1]);
      assert.equal(names[0].length, all.length);
      for (const instance of instances) {
        const { online } = await instance.ask('POST', '/api/online', { users: ['alice', 'bob', 'carol'] });
        assert.deepEqual(online.sort(), ['alice', 'bob']);
      }

      // Ended from either side, on both.
      for (const [instance, user] of [
        [fleet.old, 'dora'],
        [fleet.new, 'emil'],
      ] as const) {
        const theirs = instances.map(({ port }) => fleet.page(t, 'new', port, user));
        await until('their pages', () => theirs.every(({ client }) => client.state.name === 'connected'));
        const { ended } = await instance.ask('DELETE', `/api/users/${user}/sessions`);
        assert.equal(ended, 2);
        await until('their end', () => theirs.every(({ closeCode }) => closeCode === 4501));
      }
      for (const { program } of instances) assert.doesNotMatch(program.stderr, /unknown|damaged|error/i);
    });

    await t.test('a SockJS session is one, whichever instance its requests come to', async (t) => {
      const ports = [fleet.old.port, fleet.new.port];
      const balancer = await TcpProxy.start(() => ports);
      t.after(() => balancer.close());
      const pages = [1, 2, 3, 4].map((tab) =>
        fleet.page(
          t,
          tab % 2 === 0 ? 'old' : 'new',
          balancer.port,
          'hanna',
          { device: `tab-${tab}`, topics: ['news'] },
          'sockjs',
        ),
      );
      await until('all pages', () => pages.every(({ client }) => client.state.name === 'connected'));
      const sent = Array.from({ length: 20 }, (_, i) => i);
      for (const i of sent) await (i % 2 === 0 ? fleet.old : fleet.new).send('hanna', i);
      for (const { data } of pages) await until('all messages', () => data.length >= sent.length);
      for (const { data, gaps } of pages) assert.deepEqual([data, gaps], [sent, []]);
      // What pages say comes by requests of their own.
      for (const { client } of pages) await client.inbox.markRead(client.inbox.items[0]!);
      assert.equal((await fleet.old.get('/api/users/hanna/counts')).unread, sent.length - 1);
      // One after the other goes to either instance, and pages take several.
      assert.ok(balancer.arrivals.length > pages.length);
      assert.equal((await fleet.new.get('/api/users/hanna/sessions')).length, pages.length);
    });

    await t.test(
      'a fleet is drained to the new one and back under load, and nothing is lost or doubled',
      async (t) => {
        let live = [fleet.old];
        const balancer = await TcpProxy.start(() => live.map(({ port }) => port));
        t.after(() => balancer.close());
        const users = ['frida', 'gustav'];
        const pages = users.flatMap((user) =>
          (['old', 'new'] as const).flatMap((script) =>
            [1, 2].map((tab) => ({
              user,
              page: fleet.page(t, script, balancer.port, user, {
                device: `${script}-${tab}`,
                topics: ['news'],
              }),
            })),
          ),
        );
        const connected = (to: string) =>
          until(`all pages on ${to}`, () =>
            pages.every(({ page }) => page.client.state.name === 'connected' && page.instance === to),
          );
        await connected('old');

        const sent: Record<string, unknown[]> = { frida: [], gustav: [] };
        let sender = fleet.old;
        let isOver = false;
        const sending = (async () => {
          for (let i = 0; !isOver; i++) {
            for (const user of users) {
              await sender.send(user, i);
              sent[user]!.push(i);
            }
          }
        })();
        const some = async (): Promise<void> => {
          const { length } = sent['frida']!;
          await until('some messages', () => sent['frida']!.length > length + 30);
        };

        await some();
        // The new one takes over, then the old one is started again, as after a fault of the new one.
        live = [fleet.new];
        sender = fleet.new;
        await fleet.old.drain();
        await connected('new');
        await some();
        const back = await fleet.start('old');
        live = [back];
        await some();
        sender = back;
        await fleet.new.drain();
        await connected('old');
        await some();
        isOver = true;
        await sending;

        for (const { user, page } of pages) {
          await until('the last message', () => page.data.at(-1) === sent[user]!.at(-1));
          assert.deepEqual(page.data, sent[user]);
          assert.deepEqual(page.gaps, []);
        }
      },
    );
  });
}

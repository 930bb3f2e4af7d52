/** Whatever the application's callbacks do, throw, give or never answer: no process, channel or other session ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { explain, explainFully } from '../../src/push/explain.ts';
import type { Resolved } from '../../src/push/index.ts';
import type { Interceptor } from '../../src/server/transport.ts';
import { client, session as sockJsSession } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { onEachStore } from './stores.ts';
import { Page, startPush } from './support.ts';

const circular: Record<string, unknown> = {};
circular['self'] = circular;

/** What an application can throw that is hard to show. */
const HOSTILE: unknown[] = [
  new Error('plain'),
  undefined,
  null,
  Symbol('s'),
  Object.create(null),
  {
    toString() {
      throw new Error('no text');
    },
    [inspect.custom]() {
      throw new Error('no form');
    },
  },
  Object.defineProperty(new Error('x'), 'stack', {
    get() {
      throw new Error('no stack');
    },
  }),
  Object.defineProperty(new Error('x'), 'message', {
    get() {
      throw new Error('no message');
    },
  }),
];

/** What `resolve` can give that is no data. */
const UNSENDABLE: [name: string, give: () => unknown][] = [
  ['data undefined', () => ({ user: 'alice', data: undefined })],
  ['no data', () => ({ user: 'alice' })],
  ['a BigInt', () => ({ user: 'alice', data: { id: 1n } })],
  ['a circle', () => ({ user: 'alice', data: circular })],
  ['a function', () => ({ user: 'alice', data: () => 1 })],
  ['a symbol', () => ({ user: 'alice', data: Symbol('x') })],
  ['a toJSON that throws', () => ({ user: 'alice', data: { toJSON: fail } })],
  ['a toJSON that gives nothing', () => ({ user: 'alice', data: { toJSON: () => undefined } })],
  [
    'a getter that throws',
    () => ({ user: 'alice', data: Object.defineProperty({}, 'x', { enumerable: true, get: fail }) }),
  ],
  ['a getter of data that throws', () => Object.defineProperty({ user: 'alice' }, 'data', { get: fail })],
  ['too much', () => ({ user: 'alice', data: 'x'.repeat(2_000_000) })],
  ['no user', () => ({ data: 1 })],
  ['a user that is none', () => ({ user: '\ud800', data: 1 })],
  ['null', () => null],
  ['a number', () => 42],
  ['a string', () => 'alice'],
  ['a promise that never settles', () => new Promise(() => {})],
  // biome-ignore lint/suspicious/noThenProperty: that is what it is about
  ['a then that throws', () => ({ then: fail })],
  ['a rejection that can not be shown', () => Promise.reject(HOSTILE[5])],
];

const asAlice: Interceptor['before'] = (_request, attributes) => {
  attributes.user = 'alice';
};

function fail(): never {
  throw new Error('on purpose');
}

onEachStore(
  'what resolve gives and can not be sent is told as unresolved, and what follows comes',
  async (broker) => {
    const { push, url, log } = await startPush({
      broker: broker(),
      references: {
        timeout: 300,
        resolve: (key) => {
          const found = UNSENDABLE.find(([name]) => name === key);
          return (found === undefined ? { user: 'alice', data: { key } } : found[1]()) as Resolved;
        },
      },
    });
    const page = await Page.open(url, 'alice');
    const plain = await Page.plain(url, 'alice');
    for (const [name] of UNSENDABLE) await push.sendReference('alice', name);
    await push.sendReference('alice', 'good');
    await push.send('alice', 'end');
    await until('the end', () => page.data().at(-1) === 'end' && plain.received.at(-1) === 'end');
    assert.deepEqual(
      page.messages().map(({ reference, data, unresolved }) => [reference, data, unresolved]),
      [
        ...UNSENDABLE.map(([name]) => [name, null, true]),
        ['good', { key: 'good' }, undefined],
        [undefined, 'end', undefined],
      ],
    );
    assert.deepEqual(plain.received, ['{"key":"good"}', 'end']);
    // Who comes later reads the same from the log.
    const late = await Page.open(url, 'alice', { start: 'retained' });
    await until('the end', () => late.data().at(-1) === 'end');
    assert.deepEqual(late.data(), page.data());
    // "null" says that there is no such thing, which is no failure.
    for (const [name] of UNSENDABLE.filter(([name]) => name !== 'null')) {
      assert.ok(
        log.some((line) => line.includes(`reference ${name} could not be resolved`)),
        name,
      );
    }
    await push.close();
  },
);

test('keys on the reference channel that resolve to nothing are logged, one line each, and end nothing', async () => {
  const { push, url, log } = await startPush({
    references: {
      channel: 'mail',
      timeout: 200,
      resolve: (key) =>
        (
          UNSENDABLE.find(([name]) => name === key)?.[1] ?? (() => ({ user: 'alice', data: key }))
        )() as Resolved,
    },
  });
  const page = await Page.open(url, 'alice');
  const results = await Promise.allSettled([
    ...UNSENDABLE.map(([name]) => push.publishReference('mail', name)),
    push.publishReference('mail', 'a\nerror: forged'),
    push.publishReference('mail', '\udfff'),
    push.publishReference('mail', 'ok'),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    [...UNSENDABLE.map(() => 'rejected'), 'fulfilled', 'rejected', 'fulfilled'],
  );
  await until('the good ones', () => page.messages().length === 2);
  assert.ok(log.every((line) => !line.includes('\nerror: forged')));
  await push.close();
});

for (const mode of ['plain mode', 'tidings.1']) {
  test(`${mode}: handlers that throw or reject, whatever it is, are logged and end nothing`, async () => {
    let kind = 0;
    const bad = (): never => {
      throw HOSTILE[kind++ % HOSTILE.length];
    };
    const { push, url, log } = await startPush({
      handler: {
        opened: () => bad(),
        message: async () => bad(),
        closed: async () => bad(),
        transportError: () => bad(),
      },
    });
    for (let i = 0; i < HOSTILE.length; i++) {
      const page = mode === 'plain mode' ? await Page.plain(url, 'alice') : await Page.open(url, 'alice');
      if (mode === 'plain mode') page.say('something');
      await push.send('alice', i);
      await until('it', () => page.received.length > 0);
      await page.close();
    }
    await until('all lines', () => log.length >= HOSTILE.length * (mode === 'plain mode' ? 3 : 2));
    assert.ok(log.every((line) => line.startsWith('error: the handler threw: ')));
    await push.close();
  });
}

test('SockJS: handlers and interceptors that throw or reject end nothing', async () => {
  const { push, url, log } = await startPush({
    sockjs: { prefix: '/sockjs' },
    handler: { opened: async () => fail(), message: async () => fail(), closed: async () => fail() },
    interceptors: [{ before: asAlice, after: async () => fail() }, { after: () => fail() }],
  });
  const http = client(Number(new URL(url).port));
  const path = sockJsSession().replace(/^\/echo/, '/sockjs');
  assert.equal((await http.post(`${path}/xhr`)).body, 'o\n');
  assert.equal((await http.post(`${path}/xhr_send`, { body: '["x"]' })).status, 204);
  await push.send('alice', 'still there');
  assert.equal((await http.post(`${path}/xhr`)).body, 'a["still there"]\n');
  await until('four lines', () => log.length >= 4);
  await push.close();
});

test('interceptors that throw or reject: 500 and a log line; in `after`, a log line; the place is free again', async () => {
  let i = 0;
  const { push, url, log } = await startPush({
    limits: { handshakes: 2, sessions: 3 },
    interceptors: [
      { before: asAlice },
      {
        before: (request) => {
          if (request.url?.includes('throws')) throw HOSTILE[i++ % HOSTILE.length];
          if (request.url?.includes('rejects')) return Promise.reject(HOSTILE[i++ % HOSTILE.length]);
          return undefined;
        },
        after: (request) => {
          if (request.url?.includes('async')) return Promise.reject(HOSTILE[i++ % HOSTILE.length]) as never;
          throw HOSTILE[i++ % HOSTILE.length];
        },
      },
    ],
  });
  for (const kind of ['throws', 'rejects', 'async', 'after']) {
    for (let n = 0; n < HOSTILE.length; n++) {
      const page = new Page(`${url}?${kind}`, '');
      if (kind === 'throws' || kind === 'rejects') assert.equal(await page.ended(), 500);
      else {
        await until('open', () => page.socket.readyState === 1);
        await page.close();
      }
    }
  }
  await until('a line for each', () => log.length >= 6 * HOSTILE.length);
  assert.equal(log.filter((line) => line.includes('`before` failed')).length, 2 * HOSTILE.length);
  await until('nobody', () => push.stats().sessions === 0);
  await push.close();
});

test('authorize that throws, rejects or gives something else: refused, logged, and the session goes on', async () => {
  let i = 0;
  const bad = (topic: string): never => {
    if (topic.startsWith('late')) return Promise.reject(HOSTILE[i++ % HOSTILE.length]) as never;
    if (topic.startsWith('odd')) return [1, 'true', {}, null, undefined][i++ % 5] as never;
    throw HOSTILE[i++ % HOSTILE.length];
  };
  const { push, url } = await startPush({
    authorize: { subscribe: (_session, topic) => bad(topic), publish: (_session, topic) => bad(topic) },
  });
  const page = await Page.open(url, 'alice', { topics: ['late', 'sync', 'odd'] });
  for (let n = 0; n < 10; n++) {
    for (const channel of ['late', 'sync', 'odd']) {
      page.say({ type: 'subscribe', channel });
      page.say({ type: 'publish', channel, data: 1 });
    }
  }
  await page.frame('error', 62);
  for (const { code, channel } of page.frames('error')) {
    assert.equal(code, 'forbidden', channel);
  }
  page.say({ type: 'ping' });
  await page.frame('pong');
  await push.close();
});

test('a log that throws or rejects ends nothing', async (t) => {
  const printed = t.mock.method(console, 'error', () => {});
  for (const log of [() => fail(), async () => fail()]) {
    const { push, url } = await startPush({
      log,
      references: { timeout: 50, resolve: () => fail() },
      handler: { opened: () => fail() },
      authorize: { subscribe: () => fail() },
    });
    const page = await Page.open(url, 'alice', { topics: ['x'] });
    await push.sendReference('alice', 'k');
    await until('it is told', () => page.messages().length === 1);
    await push.close();
  }
  assert.ok(printed.mock.callCount() > 0);
});

test('send and session.send refuse what has no form, to their caller alone', async () => {
  let own: Promise<PromiseSettledResult<unknown>[]> | undefined;
  const { push, url, log } = await startPush({
    handler: {
      opened: (session) => {
        own = Promise.allSettled(
          [1n, circular, undefined, { toJSON: fail }].map(async (data) => session.send(data)),
        );
      },
    },
  });
  const page = await Page.open(url, 'alice');
  const calls = [1n, circular, undefined, { toJSON: fail }].flatMap((data) => [
    push.send('alice', data),
    push.publish('news', data),
    push.notify('alice', data),
    push.broadcast(data),
  ]);
  for (const { status } of [...(await Promise.allSettled(calls)), ...(await own!)])
    assert.equal(status, 'rejected');
  await push.send('alice', 'good');
  await until('it', () => page.messages().length === 1);
  assert.deepEqual(log, []);
  await push.close();
});

test('whatever is thrown has a line in the log', () => {
  for (const thrown of HOSTILE) {
    assert.equal(typeof explain(thrown), 'string');
    assert.equal(typeof explainFully(thrown), 'string');
  }
  assert.equal(explain(new Error('a\nb\u001b[2J')), 'Error: a\\u000ab\\u001b[2J');
  assert.ok(explain('x'.repeat(10_000)).length < 3_000);
  assert.match(explainFully(new Error('plain')), /^Error: plain at \S/);
});

test('what is thrown may hold as much as a page can send, and has its line at once', () => {
  for (const part of ['\n', '\n ', ' ', '\n    at ', 'token=', '://']) {
    const thrown = new Error(`unknown: ${part.repeat(2 ** 20 / part.length)}x`);
    for (const line of [explain(thrown), explainFully(thrown)])
      assert.ok(line.length < 15_000, String(line.length));
  }
});

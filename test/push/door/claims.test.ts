/** What interceptors say of a session, and what becomes of what can't be. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { queryUser } from '../../../src/index.ts';
import type { Attributes } from '../../../src/server/transport.ts';
import { until } from '../../support/net.ts';
import { Page, startPush } from '../support.ts';

/** An interceptor that says whatever it is told to. */
function saying(what: object) {
  return {
    before: (_request: unknown, attributes: Attributes) =>
      void Object.defineProperties(attributes, Object.getOwnPropertyDescriptors(what)),
  };
}

async function statusOf(url: string, protocols: string[] = []): Promise<number> {
  const socket = new WebSocket(`${url}?user=alice`, protocols);
  socket.on('error', () => {});
  return Promise.race([
    once(socket, 'unexpected-response').then(([request, response]) => {
      request.destroy();
      return response.statusCode as number;
    }),
    once(socket, 'close').then(([code]) => code as number),
  ]);
}

test('a session says by which login it is, until when, and its topics once each', async () => {
  const expires = Date.now() + 3_600_000;
  const { push, url } = await startPush({
    interceptors: [queryUser('user'), saying({ login: 'J-81', expires, topics: ['news', 'news', 'sport'] })],
  });
  for (const page of [await Page.open(url, 'alice'), await Page.plain(url, 'bob')]) page.socket.resume();
  for (const session of push.localSessions()) {
    assert.deepEqual([session.login, session.expires], ['J-81', expires]);
    assert.deepEqual(session.attributes.topics, ['news', 'sport']);
  }
  const { push: without, url: other } = await startPush();
  await Page.open(other, 'alice');
  for (const session of without.localSessions()) {
    assert.deepEqual(
      [session.login, session.expires, session.attributes.topics],
      [undefined, undefined, undefined],
    );
  }
});

const nonsense: Record<string, object> = {
  'a login that is no string': { login: 17 },
  'an empty login': { login: '' },
  'a login of null': { login: null },
  'a login with a line break': { login: 'a\nb' },
  'a login without end': { login: 'x'.repeat(257) },
  'an end that is text': { expires: '2030-01-01' },
  'an end that is a Date': { expires: new Date(Date.now() + 1e6) },
  'an end that is NaN': { expires: Number.NaN },
  'an end that never comes': { expires: Number.POSITIVE_INFINITY },
  'an end that is a bigint': { expires: 2_000_000_000_000n },
  'topics that are no array': { topics: 'news' },
  'topics that are a Set': { topics: new Set(['news']) },
  'a topic that is no string': { topics: ['news', 7] },
  'a hole in the topics': { topics: Object.assign([], { 2: 'news' }) },
  "somebody's inbox among the topics": { topics: ['user:bob'] },
  'more topics than a session may have': { topics: Array.from({ length: 101 }, (_, n) => `t${n}`) },
  'topics that throw': {
    topics: new Proxy([], {
      get: () => {
        throw new Error('gone');
      },
    }),
  },
  'an attribute that throws': Object.defineProperty({}, 'expires', {
    enumerable: true,
    configurable: true,
    get: () => {
      throw new Error('gone');
    },
  }),
  'an attribute that can not be written': Object.defineProperty({}, 'topics', {
    enumerable: true,
    value: ['news'],
  }),
};

for (const [what, given] of Object.entries(nonsense)) {
  test(`${what} refuses the handshake with 500 and a line in the log, and ends nothing else`, async () => {
    const { push, url, log } = await startPush({ interceptors: [queryUser('user'), saying(given)] });
    for (const protocols of [[], ['tidings.1']]) assert.equal(await statusOf(url, protocols), 500);
    assert.equal(
      log.filter((line) => /^error: what interceptors say of a session can't be: /.test(line)).length,
      2,
    );
    assert.ok(!log.join().includes('J-81'));
    assert.equal(push.stats().sessions, 0);
    await until('no place taken', () => push.stats().opened === 0);
  });
}

test('a name that can not be is still the 400 of whoever brought it', async () => {
  const { url, log } = await startPush({ interceptors: [saying({ user: 'a\nb', login: 'x' })] });
  assert.equal(await statusOf(url), 400);
  assert.equal(await statusOf(url, ['tidings.1']), 4500);
  const told = 'info: somebody from 127.0.0.1 was not let in: malformed';
  assert.deepEqual(log, [told, told]);
});

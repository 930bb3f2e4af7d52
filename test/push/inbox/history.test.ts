/** What an inbox has, page by page: by the wire and by the API, whatever was done with it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Broker, Receipt } from '../../../src/pubsub/store/broker.ts';
import { memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { backwards } from '../../../src/push/inbox/backwards.ts';
import type { HistoryFrame } from '../../../src/push/talk/wire.ts';
import { until } from '../../support/net.ts';
import { onEachStore, onMemory } from '../stores.ts';
import { Page, startPush } from '../support.ts';
import { ask } from './mail-page.ts';

const history = async (page: Page, query: Record<string, unknown>): Promise<HistoryFrame> =>
  (await ask(page, { type: 'history', ref: `h${Math.random()}`, ...query })) as unknown as HistoryFrame;
const data = (messages: readonly { data: unknown }[]): unknown[] => messages.map((message) => message.data);

onEachStore('history has every message once, newest first, with its state', async (broker) => {
  const { push, url } = await startPush({ broker: broker() });
  const receipts: Receipt[] = [];
  for (let i = 1; i <= 25; i++) receipts.push(await push.send('alice', i));
  const at = (n: number) => ({ id: receipts[n - 1]!.id });
  const ids = (...numbers: number[]) => numbers.map((n) => at(n).id);
  await push.mark('alice', { as: 'seen', upTo: receipts[14]! });
  await push.mark('alice', { as: 'read', ids: ids(3, 5, 20) });
  await push.mark('alice', { as: 'archived', ids: ids(4, 5) });
  await push.withdraw('alice', at(10));
  await push.withdraw('alice', at(25));
  const page = await Page.open(url, 'alice');

  const expected: Record<string, number[]> = {
    all: [...Array(25).keys()].map((i) => 25 - i).filter((n) => ![4, 5, 10, 25].includes(n)),
    unseen: [24, 23, 22, 21, 19, 18, 17, 16],
    unread: [...Array(25).keys()].map((i) => 25 - i).filter((n) => ![3, 4, 5, 10, 20, 25].includes(n)),
    read: [20, 3],
    archived: [5, 4],
  };
  for (const [state, all] of Object.entries(expected)) {
    for (const limit of [1, 4, 200]) {
      const found: number[] = [];
      let before: unknown;
      for (let round = 0; round === 0 || before !== undefined; round++) {
        const answer = await history(page, { state, limit, ...(before !== undefined && { before }) });
        assert.ok(answer.messages.length <= limit);
        found.push(...(data(answer.messages) as number[]));
        before = answer.before;
      }
      assert.deepEqual(found, all, `${state}, ${limit} at a time`);
      const whole = await push.inbox('alice', { state: state as 'all', limit: 200 });
      assert.deepEqual(data(whole.messages), all);
      assert.equal(whole.before, undefined);
    }
  }
  const { messages, counts } = await push.inbox('alice', { before: 21, limit: 200 });
  const stateOf = Object.fromEntries(messages.map((message) => [message.data, message.state]));
  assert.deepEqual([stateOf[20], stateOf[15], stateOf[16], stateOf[3]], ['read', 'seen', 'unseen', 'read']);
  assert.deepEqual(counts, { unseen: 8, unread: 19, all: 21 });
  assert.deepEqual(counts, await push.counts('alice'));
  const archived = await push.inbox('alice', { state: 'archived', limit: 1 });
  assert.deepEqual([archived.messages[0]!.archived, archived.messages[0]!.state], [true, 'read']);
  assert.deepEqual(archived.before, { epoch: receipts[4]!.epoch, offset: 5, id: receipts[4]!.id });
});

onEachStore('an inbox that has nothing has an empty history', async (broker) => {
  const { push, url } = await startPush({ broker: broker() });
  const page = await Page.open(url, 'alice');
  const nothing = { messages: [], counts: { unseen: 0, unread: 0, all: 0 } };
  const { type: _, ref: __, ...answer } = await history(page, {});
  assert.deepEqual(answer, nothing);
  assert.deepEqual(await push.inbox('alice'), nothing);
  assert.deepEqual(await push.mark('alice', { as: 'read' }), { changed: 0, counts: nothing.counts });
  assert.deepEqual(await push.mark('alice', { as: 'read', ids: ['x'] }), {
    changed: 0,
    counts: nothing.counts,
  });
});

onEachStore('data comes as it was sent, of any kind, with all that belongs to it', async (broker) => {
  const { push, url } = await startPush({
    broker: broker(),
    references: {
      timeout: 200,
      resolve: (key) => {
        if (key === 'bad') throw new Error('no answer');
        return { user: 'alice', data: { mail: key } };
      },
    },
    log: () => {},
  });
  await push.send('alice', 'text');
  await push.send('alice', { a: [1] });
  await push.send('alice', Buffer.from([0, 255]));
  await push.sendReference('alice', '42');
  await push.sendReference('alice', 'bad');
  await push.send('alice', 'short', { ttl: 3_600_000 });
  const page = await Page.open(url, 'alice');
  const { messages } = await history(page, {});
  assert.deepEqual(data(messages), ['short', null, { mail: '42' }, 'AP8=', { a: [1] }, 'text']);
  assert.equal(messages[0]!.expires, messages[0]!.time + 3_600_000);
  assert.deepEqual([messages[1]!.reference, messages[1]!.unresolved], ['bad', true]);
  assert.deepEqual([messages[2]!.reference, messages[2]!.unresolved], ['42', undefined]);
  assert.equal(messages[3]!.encoding, 'base64');
  const own = (await push.inbox('alice')).messages;
  assert.deepEqual(own[3]!.data, Buffer.from([0, 255]));
  assert.deepEqual([own[1]!.data, own[1]!.unresolved, own[1]!.reference], [null, true, 'bad']);
  assert.deepEqual(own[2]!.data, { mail: '42' });
});

onEachStore('long messages make short pages, and none is left out', async (broker) => {
  const { push, url } = await startPush({ broker: broker() });
  for (let i = 1; i <= 12; i++) await push.send('alice', `${i} ${'x'.repeat(i % 3 ? 10 : 400 * 1024)}`);
  const page = await Page.open(url, 'alice', { start: 'now' });
  const found: string[] = [];
  let before: unknown;
  let rounds = 0;
  do {
    const answer = await history(page, { limit: 200, ...(before !== undefined && { before }) });
    found.push(...data(answer.messages).map((text) => (text as string).split(' ')[0]!));
    before = answer.before;
    rounds++;
  } while (before !== undefined);
  assert.deepEqual(
    found,
    Array.from({ length: 12 }, (_, i) => String(12 - i)),
  );
  assert.ok(rounds >= 4, `${rounds} pages`);
});

onMemory('a page that asks for much and reads slowly is not closed for it', async (broker) => {
  const { push, url } = await startPush({ broker: broker(), limits: { outbox: 128 * 1024 } });
  for (let i = 1; i <= 40; i++) await push.send('alice', `${i} ${'x'.repeat(200 * 1024)}`);
  const page = await Page.open(url, 'alice');
  page.socket.pause();
  for (let i = 0; i < 60; i++) page.say({ type: 'history', ref: String(i), limit: 200 });
  await push.send('alice', 'last');
  page.socket.resume();
  await until('all answers', () => page.frames('history').length === 60);
  assert.equal(page.closeCode, undefined);
});

onMemory(
  'references that nobody resolves hold up a list for one batch and not for each; none is left out',
  async (broker) => {
    const { push, url } = await startPush({
      broker: broker(),
      references: { timeout: 600, resolve: () => new Promise(() => {}) },
    });
    const keys = Array.from({ length: 80 }, (_, i) => `k${i}`);
    for (const key of keys) await push.sendReference('alice', key);
    const page = await Page.open(url, 'alice', { start: 'now' });
    const answer = await history(page, { limit: 200 });
    // Two batches take longer than a second.
    assert.ok(answer.messages.length <= 32, `${answer.messages.length} messages`);
    const found = answer.messages.map(({ reference }) => reference);
    for (let { before } = answer; before !== undefined; ) {
      const next = await push.inbox('alice', { before, limit: 200 });
      found.push(...next.messages.map(({ reference }) => reference));
      before = next.before;
    }
    assert.deepEqual(found, keys.toReversed());
  },
);

onMemory(
  'a reference that can not be resolved is logged once, however often its user looks',
  async (broker) => {
    const { push, url, log } = await startPush({
      broker: broker(),
      references: { resolve: () => ({ user: 'alice', data: 1n }) },
    });
    for (let i = 0; i < 150; i++) await push.sendReference('alice', `k${i}`);
    const page = await Page.open(url, 'alice', { start: 'now' });
    for (let i = 0; i < 10; i++)
      assert.equal((await history(page, { limit: 10 })).messages[9]!.unresolved, true);
    assert.equal(new Set(log).size, log.length);
    assert.equal(log.length, 10);
    // Of many, not all are named.
    for (let i = 0; i < 3; i++) await history(page, { limit: 200 });
    assert.ok(log.length <= 101, `${log.length} lines`);
  },
);

onEachStore('what can not be asked is refused', async (broker) => {
  const { push, url, log } = await startPush({ broker: broker() });
  const receipt = await push.send('alice', 1);
  const page = await Page.open(url, 'alice');
  const lost = { epoch: 'other', offset: 1, id: 'x' };
  const { code, message } = await ask(page, { type: 'history', before: lost, ref: 'lost' });
  assert.deepEqual([code, /begin anew/.test(message ?? '')], ['rejected', true]);
  // What a page asks for in vain fills no log.
  assert.deepEqual(log, []);
  for (const limit of [0, 201, 1.5, '5']) {
    await assert.rejects(push.inbox('alice', { limit: limit as number }), RangeError);
  }
  await assert.rejects(push.inbox('alice', { state: 'gone' as 'all' }), TypeError);
  await assert.rejects(push.inbox('', {}), TypeError);
  await assert.rejects(push.counts('a\nb'), TypeError);
  await assert.rejects(push.inbox('alice', { before: { ...receipt, epoch: 'other' } }), RangeError);
  await assert.rejects(push.inbox('alice', { before: -1 }), RangeError);
  assert.deepEqual((await push.inbox('alice', { before: receipt })).messages, []);
  for (const settings of [
    {},
    { as: 'gone' },
    { as: 'read', messages: 'all' },
    { as: 'read', messages: [1] },
    { as: 'read', ids: [1] },
    { as: 'read', ids: ['x'], upTo: receipt },
    { as: 'read', upTo: 5 },
  ]) {
    await assert.rejects(push.mark('alice', settings as never), TypeError, JSON.stringify(settings));
  }
  await assert.rejects(push.mark('alice', { as: 'read', ids: Array(1001).fill('x') }), RangeError);
  assert.deepEqual(await push.counts('alice'), { unseen: 1, unread: 1, all: 1 });
});

test('a log is read backwards, whatever is wanted of it and however long its messages are', async () => {
  const broker: Broker = memoryBroker();
  const retention = { maxMessages: 10_000, maxAge: 3_600_000 };
  for (let i = 1; i <= 300; i++) {
    const payload = Buffer.alloc(i % 50 === 0 ? 700 * 1024 : 10);
    await broker.publish('c', 'binary', payload, { retention });
  }
  const log = { broker, bounded: <T>(read: () => Promise<T>): Promise<T> => read() };
  for (const wanted of [
    [[1, 300]],
    [[1, 1]],
    [
      [50, 50],
      [100, 100],
      [150, 151],
      [290, 300],
    ],
    [],
  ] as [number, number][][]) {
    const found: number[] = [];
    for await (const { offset } of backwards(log, 'c', wanted)) found.push(offset);
    const all = wanted.flatMap(([first, last]) =>
      Array.from({ length: last - first + 1 }, (_, i) => first + i),
    );
    assert.deepEqual(found, all.toReversed());
  }
  await broker.close();
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redisBroker } from '../../../src/index.ts';
import type { Broker, Cursor } from '../../../src/pubsub/store/broker.ts';
import { memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { Acknowledger } from '../../../src/push/sending/acknowledger.ts';
import { RespClient } from '../../../src/redis.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { onEachStore } from '../stores.ts';
import { Page, startPush } from '../support.ts';

const positionOf = ({ epoch, offset, id }: { epoch: string; offset: number; id: string }) => ({
  epoch,
  offset,
  id,
});

const acknowledge = (page: Page, n: number): void =>
  page.say({ type: 'ack', channel: 'inbox', position: positionOf(page.messages()[n]!) });

onEachStore(
  'the page that acknowledges is told, with another message or without one; all others too',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker() });
    const speaker = await Page.open(url, 'alice', { device: 'phone' });
    const sibling = await Page.open(url, 'alice', { device: 'phone' });
    const desk = await Page.open(url, 'alice', { device: 'desk' });
    const pages = [speaker, sibling, desk];
    await push.send('alice', 1);
    await until('the message', () => pages.every((page) => page.data().length === 1));
    acknowledge(speaker, 0);
    const told = {
      type: 'acked',
      channel: 'inbox',
      device: 'phone',
      position: positionOf(speaker.messages()[0]!),
    };
    for (const page of pages) assert.deepEqual(await page.frame('acked'), told);
    // Nothing else is sent to the speaker. Then something is, at a moment when it is owed an answer.
    for (const n of [2, 3, 4, 5]) {
      await push.send('alice', n);
      await until('the message', () => pages.every((page) => page.data().length === n));
      acknowledge(speaker, n - 1);
      await desk.frame('acked', n - 1);
    }
    const offset = (page: Page) => page.frames('acked').at(-1)!.position.offset;
    await until('the last of them', () => pages.every((page) => offset(page) === 5));
    for (const page of pages) {
      const offsets = page.frames('acked').map(({ position }) => position.offset);
      assert.deepEqual(
        offsets,
        [...offsets].sort((a, b) => a - b),
        'never backwards',
      );
      assert.deepEqual(page.data(), [1, 2, 3, 4, 5]);
    }
  },
);

onEachStore(
  'a page that begins its inbox once more may acknowledge at once what it had before, on this connection or an earlier one',
  async (broker) => {
    const { push, url } = await startPush({ broker: broker() });
    const page = await Page.open(url, 'alice', { device: 'phone' });
    for (let n = 1; n <= 40; n++) await push.send('alice', n);
    await until('the messages', () => page.data().length === 40);
    // Of a log that is gone: it is told so, and gets all of this one.
    const first = { type: 'subscribe', channel: 'inbox', position: { epoch: 'other', offset: 3, id: 'x' } };
    // One that only the store knows, and one that is remembered.
    for (const [n, at] of [2, 38].entries()) {
      page.say(first);
      acknowledge(page, at);
      assert.deepEqual((await page.frame('acked', n)).position, positionOf(page.messages()[at]!));
    }
    page.say(first);
    page.say({ type: 'ack', channel: 'inbox', position: { ...positionOf(page.messages()[39]!), id: 'x' } });
    page.say({
      type: 'ack',
      channel: 'inbox',
      position: { ...positionOf(page.messages()[39]!), offset: 41 },
    });
    await page.frame('error', 1);
    // As a page does whose memory is older than its device.
    const back = await Page.open(url, 'alice', {
      device: 'phone',
      positions: { inbox: first.position },
    });
    back.say({ type: 'ack', channel: 'inbox', position: positionOf(page.messages()[39]!) });
    assert.equal((await back.frame('acked')).position.offset, 40);
    assert.deepEqual(
      page.frames('error').map(({ code }) => code),
      ['bad-ack', 'bad-ack'],
    );
    assert.deepEqual(back.frames('error'), []);
  },
);

onEachStore('a hundred users that acknowledge in one moment have all done so', async (broker) => {
  const { push, url } = await startPush({ broker: broker() });
  const users = Array.from({ length: 100 }, (_, i) => `u${i}`);
  const pages = await Promise.all(users.map((user) => Page.open(url, user, { device: `d of ${user}` })));
  for (const n of [1, 2, 3]) {
    await Promise.all(users.map((user) => push.send(user, n)));
    await until('all', () => pages.every((page) => page.data().length === n));
    for (const page of pages) acknowledge(page, n - 1);
  }
  await until('all acknowledged', async () =>
    (await Promise.all(users.map((user) => push.pending(user)))).every(({ count }) => count === 0),
  );
  await until('all told', () => pages.every((page) => page.frames('acked').at(-1)?.position.offset === 3));
});

test('what one user’s damaged cursors cost stays with that user', {
  timeout: 60_000,
  ...needs('redis'),
}, async () => {
  const redis = await startRedis();
  try {
    const { push, url, log } = await startPush({ broker: redisBroker(redis.url) });
    const users = ['ann', 'bob', 'cid'];
    const pages = await Promise.all(users.map((user) => Page.open(url, user, { device: 'd' })));
    await Promise.all(users.map((user) => push.send(user, 'hello')));
    await until('all', () => pages.every((page) => page.data().length === 1));
    const client = new RespClient(redis.url);
    await client.command('SET', '{tidings:user:bob}:devices', 'not a hash');
    for (const page of pages) acknowledge(page, 0);
    await until('two told', () => [0, 2].every((i) => pages[i]!.frames('acked').length === 1));
    await until('a word about the third', () => log.some((line) => line.includes('"user:bob" is damaged')));
    assert.equal(log.length, 1, log.join());
    await client.command('DEL', '{tidings:user:bob}:devices');
    acknowledge(pages[1]!, 0);
    assert.equal((await pages[1]!.frame('acked')).position.offset, 1);
    await Promise.all([push.close(), client.close()]);
  } finally {
    await redis.stop();
  }
});

test('of what a session acknowledges while the store thinks, the newest is handed over; flush waits for it', async () => {
  const given: Cursor[] = [];
  const answers: (() => void)[] = [];
  const broker: Broker = {
    ...memoryBroker(),
    acknowledge: (cursor) => {
      given.push(cursor);
      return new Promise((resolve) => answers.push(resolve));
    },
  };
  const acknowledger = new Acknowledger(broker, 1000, { failed: () => assert.fail(), worked() {} });
  const session = {};
  const cursor = (offset: number): Cursor => ({
    channel: 'user:a',
    device: 'd',
    position: { epoch: 'e', offset, id: `i${offset}` },
  });
  acknowledger.add(session, cursor(1));
  await until('the first', () => given.length === 1);
  for (const n of [2, 5, 3]) acknowledger.add(session, cursor(n));
  // Another session is not held up by it.
  acknowledger.add({}, cursor(9));
  await until('the other one', () => given.length === 2);
  let isFlushed = false;
  const flushed = acknowledger.flush().then(() => {
    isFlushed = true;
  });
  answers[0]!();
  await until('the newest', () => given.length === 3);
  assert.equal(isFlushed, false);
  assert.deepEqual(
    given.map(({ position }) => position.offset),
    [1, 9, 5],
  );
  for (const answer of answers) answer();
  await flushed;
  assert.equal(given.length, 3);
});

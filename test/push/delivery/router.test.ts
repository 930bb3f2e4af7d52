/** What a channel does while the store is away: nothing that comes then may hide what was lost. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Broker, Position, StoredMessage } from '../../../src/pubsub/store/broker.ts';
import { NO_MARKS } from '../../../src/pubsub/store/marks.ts';
import type { Subscriber } from '../../../src/push/delivery/audience.ts';
import { ChannelRouter } from '../../../src/push/delivery/router.ts';
import { Tracing } from '../../../src/push/tracing/tracing.ts';
import { until } from '../../support/net.ts';

const at = (offset: number, id = `i${offset}`): Position => ({ epoch: 'e', offset, id });
const message = (position: Position): StoredMessage => ({
  ...position,
  channel: 'c',
  time: 1,
  kind: 'text',
  payload: Buffer.from('x'),
});

function stage() {
  const state = { top: at(10) as Position | Error, asked: 0, warnings: [] as string[] };
  const broker = {
    control: { mayDeliver: () => true },
    open: async () => {},
    subscribe: async () => {},
    unsubscribe: async () => {},
    close: async () => {},
    read: async () => ({ messages: [], top: state.top, first: 1 }),
    opening: async () => {
      state.asked++;
      if (state.top instanceof Error) throw state.top;
      return {
        top: state.top,
        cursors: [],
        marked: { marks: NO_MARKS, top: state.top, first: 1, most: 1000 },
      };
    },
  } as unknown as Broker;
  const router = new ChannelRouter(
    broker,
    undefined,
    {
      broadcastChannel: 'all',
      checkInterval: 0,
      limits: { message: 1000 },
      control: { name: 'i', obey: () => 0, lapsed() {}, missed() {} },
      lease: undefined,
      tracing: new Tracing(false, 'a', undefined as never),
      retentionOf: () => ({ maxMessages: 1000, maxAge: 1000 }),
      allRetentions: () => assert.fail('nobody asks'),
    },
    {
      acknowledged() {},
      marked() {},
      broadcast() {},
      intake: async () => {},
      storeState() {},
      warn: (text) => state.warnings.push(text),
      mended() {},
      rewound() {},
    },
  );
  const got: number[] = [];
  const demoted: Position[] = [];
  const subscriber = {
    transport: undefined,
    isShared: false,
    place: 'behind',
    deliver: ({ offset }: Position) => got.push(offset),
    transient() {},
    demoted: (position: Position) => demoted.push(position),
  } as unknown as Subscriber;
  return { router, state, got, demoted, subscriber };
}

test('from the loss of the store on, live messages are not passed on before the log was read', async () => {
  const { router, state, got, demoted, subscriber } = stage();
  await router.open();
  const channel = router.acquire('c');
  await channel.ready();
  channel.add(subscriber);
  assert.ok(channel.attach(subscriber, at(10), channel.finding));
  router.down(new Error('lost'));
  assert.deepEqual(demoted, [at(10)]);
  // The store has rewound to 8 and counts again: this one would follow.
  state.top = at(11, 'other');
  router.message(message(at(11, 'other')));
  const { asked } = state;
  router.message(message(at(12, 'other')));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual([got, channel.isLive, state.asked], [[], false, asked]);
  router.up();
  await until('the channel to find its place', () => channel.isLive);
  assert.deepEqual(got, []);
  // It goes on from its own place, where the log shows another message; it is not taken for one that has everything.
  assert.equal(subscriber.place, 'behind');
  await router.close();
});

test('a channel of which messages were missed reads its log, and no other does', async () => {
  const { router, state, demoted, subscriber } = stage();
  await router.open();
  const [channel, other] = [router.acquire('c'), router.acquire('d')];
  await Promise.all([channel.ready(), other.ready()]);
  channel.add(subscriber);
  channel.attach(subscriber, at(10), channel.finding);
  const { asked } = state;
  router.missed('c');
  router.missed('unknown');
  assert.deepEqual([demoted, other.isLive, channel.isLive], [[at(10)], true, false]);
  await until('it to be live again', () => channel.isLive);
  assert.equal(state.asked, asked + 1);
  await router.close();
});

test('a channel that can not be read is no loss of the others that are asked for with it', async () => {
  const { router, state } = stage();
  await router.open();
  const asked = router.opening('fine');
  assert.deepEqual((await asked).top, at(10));
  state.top = new Error('damaged');
  await assert.rejects(router.opening('c'), /damaged/);
  router.warn('told');
  assert.deepEqual(state.warnings, ['told']);
  await router.close();
});

/** What is known of a log is frozen from a loss of the store until it was compared. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mayPass, RedisError, RedisReplyError } from '../../../src/pubsub/redis/errors.ts';
import { Availability } from '../../../src/pubsub/store/availability.ts';
import type { Position } from '../../../src/pubsub/store/broker.ts';
import { RewindWatch } from '../../../src/pubsub/store/rewind-watch.ts';

const at = (offset: number, id = `i${offset}`): Position => ({ epoch: 'e', offset, id });
const always = (): boolean => true;

test('what is heard while a thousand channels are compared hides no loss', async () => {
  const compared = new Map<string, Position>();
  const watch = new RewindWatch(
    async (channel, { position }) => {
      // Foreign messages that count the lost offsets again come for every channel, from the first comparison on.
      if (compared.size === 0) for (let i = 0; i < 1000; i++) watch.heard(`b${i}`, at(11, 'other'));
      compared.set(channel, position!);
    },
    () => assert.fail('nothing is wrong'),
    mayPass,
  );
  for (let i = 0; i < 1000; i++) {
    watch.subscribe(`b${i}`, `c${i}`);
    watch.heard(`b${i}`, at(10));
  }
  watch.doubt();
  await watch.compare(always);
  assert.equal(compared.size, 1000);
  for (const position of compared.values()) assert.deepEqual(position, at(10));
  // From here on the new one counts.
  assert.deepEqual(watch.knownOf('b999'), at(11, 'other'));
});

test('what is stored, read or unsubscribed between the loss and the comparison hides it neither', async () => {
  const compared: Position[] = [];
  const watch = new RewindWatch(
    async (_channel, { position }) => {
      compared.push(position!);
    },
    () => assert.fail('nothing is wrong'),
    mayPass,
  );
  watch.subscribe('b', 'c');
  watch.learned('b', at(5));
  watch.stored('s', 'sent', at(7));
  watch.doubt();
  watch.stored('b', 'c', at(6, 'x'));
  watch.learned('b', { epoch: 'f', offset: 1, id: 'y' });
  watch.stored('s', 'sent', at(8, 'x'));
  assert.deepEqual([watch.knownOf('b'), watch.knownOf('s')], [at(5), at(7)]);
  watch.unsubscribe('b');
  watch.subscribe('s', 'sent');
  watch.doubt();
  await watch.compare(always);
  assert.deepEqual(
    compared.sort((a, b) => a.offset - b.offset),
    [at(5), at(7)],
  );
});

test('a comparison that fails is repeated while it may succeed, and told where it can not', async () => {
  const failed: string[] = [];
  let calls = 0;
  const watch = new RewindWatch(
    async (channel) => {
      if (channel === 'damaged') throw new RedisReplyError('WRONGTYPE x');
      if (++calls < 3) throw new RedisError('REDIS_OUTCOME_UNKNOWN', 'no reply');
    },
    (channel) => failed.push(channel),
    mayPass,
  );
  for (const channel of ['slow', 'damaged']) {
    watch.subscribe(channel, channel);
    watch.heard(channel, at(1));
  }
  watch.doubt();
  await watch.compare(always);
  assert.deepEqual([calls, failed], [3, ['damaged']]);
  watch.doubt();
  let isCurrent = true;
  const comparing = watch.compare(() => isCurrent);
  isCurrent = false;
  await comparing;
  assert.deepEqual(watch.knownOf('slow'), at(1));
});

test('a version of marks is compared as a position is, also of a channel without a message', async () => {
  const compared: unknown[] = [];
  const watch = new RewindWatch(
    async (channel, doubted) => {
      compared.push([channel, doubted]);
    },
    () => assert.fail('nothing is wrong'),
    mayPass,
  );
  watch.learnedVersion('nobody subscribed', at(1));
  for (const channel of ['marked', 'both', 'forgotten']) watch.subscribe(channel, channel);
  watch.learnedVersion('marked', at(3));
  watch.learnedVersion('marked', at(2));
  watch.heard('both', at(8));
  watch.learnedVersion('both', at(1));
  watch.learnedVersion('forgotten', at(4));
  watch.learnedVersion('forgotten', { epoch: '', offset: 0, id: '' });
  watch.unsubscribe('marked');
  watch.doubt();
  watch.learnedVersion('both', { ...at(1), epoch: 'other' });
  assert.deepEqual(watch.versionOf('both'), at(1));
  await watch.compare(always);
  assert.deepEqual(compared, [
    ['both', { position: at(8), version: at(1) }],
    ['marked', { position: undefined, version: at(3) }],
  ]);
  assert.deepEqual(watch.versionOf('both'), { ...at(1), epoch: 'other' });
});

test('one state says whether the store is there: each loss is told once, and its end once', async () => {
  const told: string[] = [];
  let finish: () => void = () => {};
  const states = new Availability(
    { down: (error) => told.push(`down ${error.message}`), up: () => told.push('up') },
    () =>
      new Promise((resolve) => {
        finish = resolve;
      }),
  );
  const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const compared = async (): Promise<void> => {
    finish();
    await settled();
  };
  states.lost(new Error('1'));
  states.lost(new Error('2'));
  states.whole();
  states.lost(new Error('3'));
  await compared();
  assert.deepEqual([told, states.isThere], [['down 1'], false]);
  states.whole();
  states.whole();
  await compared();
  await states.opened;
  assert.deepEqual([told, states.isThere], [['down 1', 'up'], true]);
  states.whole();
  states.lost(new Error('4'));
  states.whole();
  await compared();
  assert.deepEqual(told, ['down 1', 'up', 'down 4', 'up']);
  const never = new Availability({ down() {}, up() {} }, async () => {});
  never.close(new Error('closed'));
  await assert.rejects(never.opened, /closed/);
  never.whole();
  never.lost(new Error('late'));
});

/** What others may say on the watch channel, of whatever version and as often as they like, is bounded and ends nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monotonicNow } from '../../../src/clock.ts';
import { WatchBus } from '../../../src/push/watch/bus.ts';
import { Fleet, type InstanceReport } from '../../../src/push/watch/fleet.ts';
import { Followed } from '../../../src/push/watch/followed.ts';
import type { TapParts } from '../../../src/push/watch/taps.ts';

const OTHER = 'another-inst';

/** A bus whose words to others are kept, and what says something on it as another instance would. */
function busAlone() {
  const said: { channel: string; kind: string; said: Record<string, unknown> }[] = [];
  const bus = new WatchBus({
    notify: async (channel, payload) => {
      said.push({ channel, ...JSON.parse(payload.toString()) });
    },
  });
  const say = (kind: string, what: unknown, from: unknown = OTHER): void =>
    bus.doorbells[1]!.heard(Buffer.from(JSON.stringify({ kind, from, said: what })));
  return { bus, said, say };
}

function followedBy(bus: WatchBus) {
  let asked = 0;
  const lobby = { message: () => {} };
  const registry = {
    everyoneOf: () => {
      asked++;
      return [];
    },
  };
  const parts = { registry, lobby, fanOut: { publish: () => 0 } } as unknown as TapParts;
  return {
    followed: new Followed('here', bus, parts),
    isListening: () => Object.hasOwn(lobby, 'message'),
    asked: () => asked,
  };
}

test('who follows and is not heard of any more is forgotten after 10 seconds, and who says it again is not', () => {
  const { bus, say } = busAlone();
  const { followed, isListening } = followedBy(bus);
  say('follow', { id: 'one', user: 'alice' });
  followed.sweep(monotonicNow() + 9_000);
  assert.ok(isListening());
  followed.sweep(monotonicNow() + 10_001);
  assert.ok(!isListening());
  say('follow', { id: 'one', user: 'alice' });
  say('unfollow', { id: 'two' });
  assert.ok(isListening());
  say('unfollow', { id: 'one' });
  assert.ok(!isListening());
  followed.close();
});

test('a hundred may follow at once, whoever says so; those that are there stay', () => {
  const { bus, say } = busAlone();
  const { followed, asked, isListening } = followedBy(bus);
  for (let i = 0; i < 150; i++) say('follow', { id: `f${i}`, user: `u${i}` });
  assert.equal(asked(), 100);
  say('unfollow', { id: 'f0' });
  say('follow', { id: 'late', user: 'alice' });
  assert.equal(asked(), 101);
  followed.close();
  assert.ok(!isListening());
});

test('what is no word of an instance is answered by nobody', () => {
  const { bus, said, say } = busAlone();
  const { followed, asked } = followedBy(bus);
  new Fleet(bus, () => ({ instance: 'here' }) as InstanceReport);
  for (const text of ['', 'null', '[]', '7', '"ask"', '{', '{"kind":"ask"}', '\u00ff'])
    for (const { heard } of bus.doorbells) heard(Buffer.from(text));
  for (const from of [null, 7, '', 'short', 'with\nbreaks\n', 'x'.repeat(1_000), bus.address])
    say('ask', { id: 1 }, from);
  for (const what of [null, 'all', 7]) say('ask', what);
  for (const id of [undefined, 'one', 1.5, {}]) say('ask', { id });
  for (const id of [undefined, 7, 'x'.repeat(65)]) say('follow', { id, user: 'alice' });
  for (const user of [undefined, 7, ['alice']]) say('follow', { id: 'one', user });
  say('toString', {});
  assert.deepEqual(said, []);
  assert.equal(asked(), 0);
  say('ask', { id: 1 });
  assert.deepEqual(
    said.map(({ channel, kind }) => [channel, kind]),
    [[`watch\n${OTHER}`, 'report']],
  );
  followed.close();
});

test('an answer that is none, is too long, or is to another question is not among those of the instances', async () => {
  const { bus, said, say } = busAlone();
  const report = { instance: 'here', sessions: 0, time: 1, refusals: {} } as InstanceReport;
  const fleet = new Fleet(bus, () => report);
  const asked = fleet.instances();
  const { id } = said[0]!.said as { id: number };
  for (const told of [
    undefined,
    null,
    'all',
    [],
    {},
    { ...report, sessions: '1' },
    { ...report, refusals: null },
  ])
    say('report', { id, report: told });
  say('report', { id, report: { ...report, instance: 'x'.repeat(20_000) } }, 'long-winded-');
  say('report', { id: id + 1, report: { ...report, instance: 'late' } }, 'late-comer--');
  say('report', { id, report: { ...report, instance: 'there' } });
  const names = (await asked).map(({ instance }) => instance);
  assert.deepEqual(names, ['here', 'there']);
});

/** What the broker is told of sessions that come and go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Broker, PresenceEntry } from '../../../src/pubsub/store/broker.ts';
import { Presence } from '../../../src/push/pages/presence.ts';
import { until } from '../../support/net.ts';

function stage() {
  const told: [what: 'announce' | 'withdraw', sessions: string[]][] = [];
  const note =
    (what: 'announce' | 'withdraw') =>
    async (entries: PresenceEntry[]): Promise<void> => {
      told.push([what, entries.map(({ session }) => session)]);
    };
  const broker = { announce: note('announce'), withdraw: note('withdraw') } as unknown as Broker;
  const presence = new Presence(broker, 30_000, {
    failed: (error) => assert.fail(String(error)),
    worked() {},
  });
  return { told, presence };
}
const entry = (session: string, device?: string): PresenceEntry => ({
  session,
  instance: 'i',
  user: 'ann',
  since: 1,
  ...(device === undefined ? {} : { device }),
});

test('a page that comes and goes within one batch is not told at all, also one that said hello meanwhile', async () => {
  const { told, presence } = stage();
  presence.add(entry('a'));
  presence.remove('a');
  presence.add(entry('b'));
  presence.add(entry('b', 'phone'));
  presence.remove('b');
  presence.remove('unknown');
  presence.add(entry('c'));
  await presence.flush();
  assert.deepEqual(told, [['announce', ['c']]]);
});

test('a page that was told is withdrawn, also if it said something new within the batch in which it goes', async () => {
  const { told, presence } = stage();
  presence.add(entry('a'));
  presence.add(entry('b'));
  await presence.flush();
  presence.remove('a');
  presence.add(entry('b', 'phone'));
  presence.remove('b');
  await presence.flush();
  assert.deepEqual(told, [
    ['announce', ['a', 'b']],
    ['withdraw', ['a', 'b']],
  ]);
});

test('one that goes and comes again in one batch stays, and is withdrawn when it goes', async () => {
  const { told, presence } = stage();
  presence.add(entry('a'));
  await presence.flush();
  presence.remove('a');
  presence.add(entry('a', 'phone'));
  await presence.flush();
  presence.remove('a');
  await presence.flush();
  assert.deepEqual(
    told.map(([what]) => what),
    ['announce', 'announce', 'withdraw'],
  );
});

test('one that goes while it is being announced is withdrawn after that', async () => {
  const { told, presence } = stage();
  presence.add(entry('a'));
  const first = presence.flush();
  await Promise.resolve();
  presence.remove('a');
  await Promise.all([first, presence.flush()]);
  assert.deepEqual(told, [
    ['announce', ['a']],
    ['withdraw', ['a']],
  ]);
});

test('a thousand that come and go in one turn are told in one call for those that are left', async () => {
  const { told, presence } = stage();
  for (let i = 0; i < 1000; i++) presence.add(entry(`s${i}`));
  for (let i = 0; i < 500; i++) presence.remove(`s${i}`);
  await until('the batch', () => told.length > 0);
  await presence.flush();
  assert.deepEqual(
    told.map(([what, sessions]) => [what, sessions.length]),
    [['announce', 500]],
  );
});

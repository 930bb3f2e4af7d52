/** What fails and works again: one line each, however often it is tried. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import type { LogFields } from '../../src/log-fields.ts';
import { Faults } from '../../src/pubsub/store/faults.ts';
import { Trouble } from '../../src/push/trouble.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';
import { Page, startPush } from './support.ts';

test('a failure is told once, another reason as well, and that it works again; without a failure nothing is', () => {
  const lines: string[] = [];
  const trouble = new Trouble(
    (level, message, { event, ...fields }) =>
      lines.push(`${level} ${event} ${message} ${JSON.stringify(fields)}`),
    { event: 'presence-failing', message: 'it fails' },
    { event: 'presence-back', message: 'it works' },
  );
  trouble.worked();
  for (let i = 0; i < 100; i++) {
    trouble.failed(new Error('a\nb'), { channel: 'c' });
    trouble.failed('other');
  }
  for (let i = 0; i < 3; i++) trouble.worked();
  trouble.failed('other');
  assert.deepEqual(lines, [
    'warn presence-failing it fails: Error: a\\u000ab {"channel":"c","error":"Error: a\\\\u000ab"}',
    'warn presence-failing it fails: other {"error":"other"}',
    'warn presence-back it works {}',
    'warn presence-failing it fails: other {"error":"other"}',
  ]);
});

test('a fault of the store is over when it shows in no way any more', () => {
  const told: [string, LogFields][] = [];
  const faults = new Faults({
    warn: (message, fields) => told.push([message, fields]),
    mended: (message, fields) => told.push([message, fields]),
  });
  const fields = { event: 'channel-damaged', channel: 'c', error: 'e' };
  faults.over('read c');
  faults.met('read c', 'm', fields);
  faults.met('write c', 'm', fields);
  faults.over('read c');
  assert.equal(told.length, 1);
  faults.over('write c');
  faults.over('write c');
  assert.deepEqual(told[1]![1], { event: 'store-fault-over', fault: 'channel-damaged', channel: 'c' });
  assert.equal(told.length, 2);
});

test(
  'a damaged channel that is mended, and a store that goes and comes, are told both times',
  needs('redis'),
  async (t) => {
    const redis = await startRedis();
    t.after(() => redis.stop());
    const events: string[] = [];
    const { push } = await startPush({
      broker: redisBroker(redis.url),
      lease: 500,
      log: (level, _, { event }) => events.push(`${level} ${event}`),
    });
    await ask(redis, 'SET', '{tidings:user:alice}:list', 'x');
    await assert.rejects(push.send('alice', 1));
    await ask(redis, 'DEL', '{tidings:user:alice}:list');
    await push.send('alice', 1);
    assert.deepEqual(events.slice(2), ['error channel-damaged', 'warn store-fault-over']);
    await redis.kill();
    await until('the end of the lease', () => events.includes('warn lease-over'));
    await redis.start();
    await until('the store', () => events.includes('warn store-back'));
    assert.equal(events.filter((event) => event === 'warn store-away').length, 1);
    await push.close();
  },
);

test('why a session was closed from here is told: what it sent, another one in its place', async () => {
  const cut: unknown[] = [];
  const { push, url } = await startPush({
    limits: { sessionsPerUser: 1 },
    log: (level, _, { event, reason, user, code }) => {
      if (event === 'session-cut') cut.push([level, reason, user, code]);
    },
  });
  const bad = await Page.open(url, 'alice');
  bad.say('no JSON');
  await bad.ended();
  const first = await Page.open(url, 'bob');
  const second = await Page.open(url, 'bob');
  await first.ended();
  await until('both lines', () => cut.length === 2);
  // Who goes by himself, or with a code of ours, was not cut.
  second.socket.close(4430);
  await second.ended();
  await push.close();
  assert.deepEqual(cut, [
    ['info', 'malformed', 'alice', 4500],
    ['info', 'replaced', 'bob', 4509],
  ]);
});

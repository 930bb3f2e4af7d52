/** Sessions in Redis: written once, there as long as their instance lives, at no cost while nothing happens. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import type { Broker, PresenceEntry } from '../../../src/pubsub/store/broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { until } from '../../support/net.ts';
import { needs, typescript } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { Recorder } from './broker-suite.ts';

const TTL = 600;

describe('presence in Redis', { ...needs('redis'), timeout: 120_000 }, () => {
  let redis: RedisServer;
  let a: Broker;
  let b: Broker;
  before(async () => {
    redis = await startRedis();
    [a, b] = [redisBroker(redis.url), redisBroker(redis.url)];
    await Promise.all([a.open(new Recorder()), b.open(new Recorder())]);
  });
  after(async () => {
    await Promise.all([a.close(), b.close()]);
    await redis.stop();
  });

  const entry = (user: string, session = `session of ${user}`): PresenceEntry => ({
    session,
    instance: 'A',
    user,
    since: 1,
  });
  const calls = async (command: string): Promise<number> => {
    const text = String(await ask(redis, 'INFO', 'commandstats'));
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(text)?.[1] ?? 0);
  };
  const lives = async (): Promise<string[]> => (await ask(redis, 'KEYS', '{tidings:life:*')) as string[];

  test('an instance that is killed leaves no session behind once its time is over', async () => {
    const program = `
      import { redisBroker } from './src/pubsub/store/redis-broker.ts';
      const broker = redisBroker('${redis.url}');
      await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
      const ann = { session: 's', instance: 'dead', user: 'ann', since: 1 };
      await broker.announce([ann, { ...ann, topic: 'news' }], ${TTL});
      console.log('announced');
    `;
    const child = spawn(process.execPath, [...typescript, '--input-type=module', '-e', program]);
    await once(child.stdout, 'data');
    assert.equal((await b.presence('ann')).length, 1);
    // Many times as long as an instance may be silent.
    const beats = await calls('set');
    await until('signs of life', async () => (await calls('set')) >= beats + 6);
    assert.equal((await b.presence('ann')).length, 1);
    assert.deepEqual((await b.attendance('news', 5)).users, [{ user: 'ann', sessions: 1 }]);
    assert.deepEqual(await b.online(['ann', 'bob']), new Set(['ann']));
    child.kill('SIGKILL');
    await until('the session to be over', async () => (await b.presence('ann')).length === 0);
    await until('it to be nowhere', async () => (await b.attendance('news', 5)).sessions === 0);
    assert.deepEqual(await b.online(['ann']), new Set());
    await until(
      'that to be removed',
      async () => (await ask(redis, 'EXISTS', '{tidings:news}:sessions')) === 0,
    );
    await until(
      'it to be removed',
      async () => (await ask(redis, 'EXISTS', '{tidings:user:ann}:sessions')) === 0,
    );
  });

  test('an instance that was silent for too long, or whose store lost everything, announces its sessions again', async () => {
    const users = Array.from({ length: 50 }, (_, i) => `u${i}`);
    const own = users.map((user) => entry(user));
    const onTopic = own.map((one) => ({ ...one, topic: 'crowd' }));
    await a.announce([...own, ...onTopic], TTL);
    const areThere = async (): Promise<boolean> =>
      (await b.online(users)).size === 50 && (await b.attendance('crowd', 0)).sessions === 50;
    assert.ok(await areThere());
    const before = await lives();
    await ask(redis, 'DEL', ...(before as [string]));
    const isAnother = async (): Promise<boolean> => (await lives()).some((life) => !before.includes(life));
    await until('another life', isAnother);
    await until('them to be announced again', areThere);
    await ask(redis, 'FLUSHALL');
    await until('them to be announced again', areThere);
    await a.withdraw([...own, ...onTopic]);
    assert.deepEqual(await b.presence('u7'), []);
    assert.equal((await b.attendance('crowd', 0)).sessions, 0);
  });

  test('a session that stays is not written again; its instance gives one sign of life for all', async () => {
    const entries = Array.from({ length: 200 }, (_, i) => entry(`idle${i}`));
    // One who is silent for longer, on a machine that is busy, writes all of them again.
    await a.announce(entries, 6 * TTL);
    const [hset, pexpire, set] = [await calls('hset'), await calls('pexpire'), await calls('set')];
    await until('five signs of life', async () => (await calls('set')) >= set + 5);
    // Everything is written again over hours, one or two at a time.
    assert.ok(
      (await calls('hset')) - hset <= 10,
      `${(await calls('hset')) - hset} sessions were written again`,
    );
    assert.ok((await calls('pexpire')) - pexpire <= 10);
    assert.equal((await b.presence('idle7')).length, 1);
    await a.withdraw(entries);
  });

  test('who is online is asked for a thousand users in the calls of one turn, and what is damaged is passed over', async () => {
    const users = Array.from({ length: 1000 }, (_, i) => `many${i}`);
    await a.announce([entry('many3'), entry('many5')], TTL);
    await ask(redis, 'SET', '{tidings:user:many4}:sessions', 'no hash');
    const [hvals, exists] = [await calls('hvals'), await calls('exists')];
    assert.deepEqual(await b.online(users), new Set(['many3', 'many5']));
    assert.equal((await calls('hvals')) - hvals, 1000);
    assert.ok((await calls('exists')) - exists <= 1, 'a life is asked about once, not for each user');
    await a.withdraw([entry('many3'), entry('many5')]);
  });

  test('a reader that takes an instance for dead removes nothing that was announced again', async () => {
    await a.announce([entry('cora')], TTL);
    const key = '{tidings:user:cora}:sessions';
    // What an earlier life left under the same name, and something that is no session.
    await ask(redis, 'HSET', key, 'old', `gone ${JSON.stringify(entry('cora', 'old'))}`);
    await ask(redis, 'HSET', key, 'odd', 'nothing');
    assert.deepEqual(await b.presence('cora'), [entry('cora')]);
    await until('the old one to be removed', async () => (await ask(redis, 'HLEN', key)) === 2);
    assert.deepEqual(await b.presence('cora'), [entry('cora')]);
  });
});

/** A Redis that can be reached and refuses to write: nothing is stored, whoever sends is told so, and may try again. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { WebSocket as WsWebSocket } from 'ws';
import { connect, type WebSocketConstructor } from '../../src/client/full.ts';
import { redisBroker } from '../../src/index.ts';
import { adminOf } from '../admin/support.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { ask } from '../support/redis-groups.ts';
import { Page, startPush } from './support.ts';

interface Refusal {
  word: string;
  begin(redis: RedisServer): Promise<unknown>;
  end(redis: RedisServer): Promise<unknown>;
}

const isSaved = async (redis: RedisServer, status: string): Promise<unknown> => {
  await ask(redis, 'BGSAVE');
  return until(`a snapshot: ${status}`, async () => {
    const info = String(await ask(redis, 'INFO', 'persistence'));
    return info.includes('rdb_bgsave_in_progress:0') && info.includes(`rdb_last_bgsave_status:${status}`);
  });
};

const REFUSALS: Refusal[] = [
  {
    word: 'MISCONF',
    async begin(redis) {
      // In the snapshot's place, something that it can't be renamed to.
      mkdirSync(join(redis.folder, 'dump.rdb'));
      await ask(redis, 'CONFIG', 'SET', 'save', '3600 1000000');
      await isSaved(redis, 'err');
    },
    async end(redis) {
      rmdirSync(join(redis.folder, 'dump.rdb'));
      await isSaved(redis, 'ok');
    },
  },
  {
    word: 'NOREPLICAS',
    begin: (redis) => ask(redis, 'CONFIG', 'SET', 'min-replicas-to-write', 1),
    end: (redis) => ask(redis, 'CONFIG', 'SET', 'min-replicas-to-write', 0),
  },
  {
    word: 'OOM',
    begin: (redis) => ask(redis, 'CONFIG', 'SET', 'maxmemory', 1),
    end: (redis) => ask(redis, 'CONFIG', 'SET', 'maxmemory', 0),
  },
];

async function start(t: TestContext, publishMaxWait: number) {
  const redis = await startRedis();
  const broker = redisBroker(redis.url, { publishMaxWait });
  const running = await startPush({ broker, authorize: { subscribe: () => true, publish: () => true } });
  t.after(async () => {
    await running.push.close();
    await redis.stop();
  });
  return { redis, ...running };
}

describe('a Redis that refuses to write', { timeout: 120_000, ...needs('redis') }, () => {
  for (const { word, begin, end } of REFUSALS) {
    test(`${word}: who sends is told in time, nothing is stored, and after the repair it is, once`, async (t) => {
      const { redis, push, url } = await start(t, 200);
      const page = await Page.open(url, 'alice', { topics: ['news'] });
      const plain = await Page.plain(url, 'alice');
      const http = createServer(adminOf(push, { tokens: ['token'] }));
      http.listen(0, '127.0.0.1');
      await once(http, 'listening');
      t.after(() => http.close());
      const post = (): Promise<Response> =>
        fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}/api/users/alice/messages`, {
          method: 'POST',
          headers: {
            Authorization: 'Bearer token',
            'Content-Type': 'application/json',
            'Idempotency-Key': 'api',
            Connection: 'close',
          },
          body: '"by the API"',
        });
      await push.send('alice', 'before');
      await page.frame('message');
      await begin(redis);

      const refusal = (error: Error): boolean => error.message.includes(word);
      await assert.rejects(push.send('alice', 'refused'), refusal);
      await assert.rejects(push.send('bob', 'a first one'), refusal);
      await assert.rejects(push.send('alice', 'keyed', { idempotencyKey: 'k' }), refusal);
      await assert.rejects(push.publish('news', 'refused'), refusal);
      const publish = { type: 'publish', channel: 'news', data: 'by the page', idempotencyKey: 'p' };
      page.say({ ...publish, ref: '1' });
      const error = await page.frame('error');
      assert.deepEqual([error.code, error.ref], ['unavailable', '1']);
      const answer = await post();
      assert.deepEqual([answer.status, answer.headers.get('retry-after')], [503, '1']);
      // What can be read is read, and whoever comes is let in.
      const late = await Page.open(url, 'alice', { start: 'retained' });
      await until('what was stored before', () => late.data().length === 1);
      assert.equal(push.stats().storeAway, false);

      await end(redis);
      const keyed = await push.send('alice', 'keyed', { idempotencyKey: 'k' });
      page.say({ ...publish, ref: '2' });
      const published = await page.frame('published');
      assert.equal((await post()).status, 201);
      assert.deepEqual(
        [keyed.offset, keyed.duplicate, published.offset, published.duplicate],
        [2, false, 1, false],
      );
      await push.send('alice', 'after');
      await until('all of it', () => plain.received.includes('after') && late.data().includes('after'));
      const all = ['before', 'keyed', 'by the API', 'after'];
      await until('the page in tidings.1', () => page.data().length === 4 && page.data('news').length === 1);
      assert.deepEqual([page.data(), late.data(), plain.received], [all, all, all]);
      assert.deepEqual(page.data('news'), ['by the page']);
      assert.deepEqual((await push.pending('bob')).count, 0);
    });

    test(`${word}: what waits for it is stored in its order as soon as it is mended`, async (t) => {
      const { redis, push, url } = await start(t, 60_000);
      const page = await Page.open(url, 'alice');
      const client = connect({
        url,
        user: 'alice',
        userParameter: 'user',
        WebSocket: WsWebSocket as unknown as WebSocketConstructor,
      });
      t.after(() => client.close());
      await until('a connection', () => client.state.name === 'connected');
      await begin(redis);
      const sent = Array.from({ length: 50 }, (_, i) => push.send('alice', i));
      const published = client.publish('news', 'by the client');
      const calls = async (): Promise<number> =>
        Number(/cmdstat_evalsha:calls=(\d+)/.exec(String(await ask(redis, 'INFO', 'commandstats')))![1]);
      const before = await calls();
      await until('several attempts', async () => (await calls()) > before + 4);
      assert.deepEqual(page.data(), []);
      await end(redis);
      const receipts = await Promise.all(sent);
      assert.deepEqual(
        receipts.map(({ offset, duplicate }) => [offset, duplicate]),
        receipts.map((_, i) => [i + 1, false]),
      );
      await until('all of them', () => page.data().length === 50);
      assert.deepEqual(
        page.data(),
        sent.map((_, i) => i),
      );
      assert.equal((await published).offset, 1);
    });
  }
});

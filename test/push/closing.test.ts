/** `close()` ends within 5 seconds beyond its drain, whatever the store does. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { redisBroker } from '../../src/index.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import type { PushServer } from '../../src/push/index.ts';
import { within } from '../../src/waiting.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { Page, startPush } from './support.ts';

/** Milliseconds. */
const LIMIT = 5_000;

/** Whether it ends in time; a little more for a machine that has other things to do. */
async function closesInTime(push: PushServer): Promise<boolean> {
  const closed = push.close().then(() => true);
  return (await within(LIMIT + 1_000, closed)) === true;
}

describe('close with a Redis', { timeout: 120_000, ...needs('redis') }, () => {
  const servers: RedisServer[] = [];
  after(async () => {
    for (const redis of servers) {
      redis.process.kill('SIGCONT');
      await redis.stop();
    }
  });

  const ways: Record<string, (redis: RedisServer) => unknown> = {
    'that stands still': (redis) => redis.process.kill('SIGSTOP'),
    'that is gone': (redis) => redis.kill(),
  };
  for (const [how, harm] of Object.entries(ways)) {
    for (const delay of [0, 1_000]) {
      test(`${how}, ${delay} ms after the last word of a page`, async () => {
        const redis = await startRedis();
        servers.push(redis);
        const { push, url } = await startPush({
          // Whoever waits for the store may wait long: that is not what is looked at here.
          broker: redisBroker(redis.url, { publishMaxWait: 60_000, commandTimeout: 60_000 }),
          sockjs: { prefix: '/sockjs' },
        });
        const page = await Page.open(url, 'alice', { device: 'd1' });
        await push.send('alice', 'one');
        const { epoch, offset, id } = await page.frame('message');
        harm(redis);
        page.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
        const sent = push.send('alice', 'two').then(
          () => 'stored',
          (error) => String(error.code),
        );
        await new Promise((resolve) => setTimeout(resolve, delay));
        assert.ok(await closesInTime(push), 'it has not ended in time');
        // Who has sent is told, too, and not that it was stored.
        const told = await within(1_000, sent);
        assert.match(String(told), /^REDIS_(CLOSED|OUTCOME_UNKNOWN|UNAVAILABLE)$/);
        await page.ended();
      });
    }
  }

  test('that was never there', async () => {
    const redis = await startRedis();
    await redis.stop();
    const { push } = await startPush({ broker: redisBroker(redis.url) }, { isReady: false });
    assert.ok(await closesInTime(push));
    await assert.rejects(push.ready);
  });
});

test('close with a store of the application’s own that never answers', async () => {
  const broker = memoryBroker();
  const { push, url, log } = await startPush({ broker });
  const page = await Page.open(url, 'alice', { device: 'd1' });
  await push.send('alice', 'one');
  const { epoch, offset, id } = await page.frame('message');
  const never = (): Promise<never> => new Promise(() => {});
  const close = broker.close.bind(broker);
  Object.assign(broker, { acknowledge: never, acknowledgeAll: never, withdraw: never, close: never });
  page.say({ type: 'ack', channel: 'inbox', position: { epoch, offset, id } });
  await until('the page to be heard', () => page.frames('acked').length >= 0);
  assert.ok(await closesInTime(push));
  assert.deepEqual(log, []);
  await close();
});

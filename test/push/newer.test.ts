/** What this version does with what a newer one writes, says or asks for: it tells so, and takes nothing for what it is not. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { slotOf } from '../../src/pubsub/redis/slots.ts';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { ChannelKeys } from '../../src/pubsub/store/redis-layout.ts';
import { LAYOUT } from '../../src/pubsub/store/versions.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RedisServer, startRedis } from '../support/redis.ts';
import { ask, type ClusterGroup, startCluster } from '../support/redis-groups.ts';
import { Page, startPush } from './support.ts';

const QUICK = { lease: 900 };
/** Of a broker whose events are of no interest. */
const silent = { message() {}, acknowledged() {}, transient() {}, down() {}, up() {} };

test('a page that speaks another tidings.N alone is told to try again, not served in plain mode', async () => {
  const { url } = await startPush();
  for (const offered of [['tidings.2'], ['tidings.2', 'tidings.3'], ['ticket.x', 'tidings.10']]) {
    const page = new Page(url, 'alice', offered);
    await until('a refusal', () => page.refusal);
    assert.equal(page.refusal, 503, offered.join());
  }
  const both = new Page(url, 'alice', ['tidings.2', 'tidings.1']);
  await until('an open page', () => both.socket.readyState === 1);
  assert.equal(both.socket.protocol, 'tidings.1');
  // What is no version of ours is the application's own.
  for (const offered of [['tidings'], ['tidings.x'], ['mqtt']]) {
    const page = new Page(url, 'alice', offered);
    await until('an answer', () => page.socket.readyState >= 2 || page.socket.readyState === 1);
    assert.notEqual(page.refusal, 503, offered.join());
  }
});

describe('over Redis', needs('redis'), () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis?.stop());

  const stateOf = (prefix: string): string => new ChannelKeys(prefix, 'control\n').own('state');

  test('the layout stands in the store, and one that a newer version has written is refused until it is gone', async () => {
    const prefix = randomUUID();
    const { push, url, log } = await startPush({ broker: redisBroker(redis.url, { prefix }), ...QUICK });
    assert.equal(await ask(redis, 'HGET', stateOf(prefix), 'layout'), String(LAYOUT));
    const page = await Page.open(url, 'alice');
    await ask(redis, 'HSET', stateOf(prefix), 'layout', LAYOUT + 1);
    await until('it notices', () => push.stats().storeAway);
    assert.ok(push.stats().storeFaults > 0);
    const told = log.filter((line) => /newer tidings, in layout 2; this one knows layout 1/.test(line));
    assert.ok(told.length > 0, log.join('\n'));

    // Neither an instance that starts now, nor a program that only sends.
    const late = await startPush(
      { broker: redisBroker(redis.url, { prefix }), ...QUICK },
      { isReady: false },
    );
    await until('it says why it waits', () => late.log.some((line) => /in layout 2/.test(line)));
    const sender = redisBroker(redis.url, { prefix, intake: false });
    await assert.rejects(sender.open(silent), { code: 'REDIS_LAYOUT', layout: 2 });
    await sender.close();

    await ask(redis, 'HSET', stateOf(prefix), 'layout', LAYOUT);
    await until('it goes on', () => !push.stats().storeAway);
    await late.push.ready;
    await late.push.send('alice', 'hello');
    await until('the message', () => page.frames('message').length === 1);
    assert.equal(log.filter((line) => /in layout 2/.test(line) && /^warn/.test(line)).length <= 2, true);
  });

  test('a doorbell of a kind that is not known goes to no page, is told once, and what it was about is read', async () => {
    const prefix = randomUUID();
    const { push, url, log } = await startPush({ broker: redisBroker(redis.url, { prefix }) });
    const page = await Page.open(url, 'alice');
    const plain = await Page.plain(url, 'alice');
    const keys = new ChannelKeys(prefix, 'user:alice');
    for (let i = 0; i < 3; i++)
      await ask(redis, 'PUBLISH', keys.bus, `\0tidings:z something else\nof its own`);
    await ask(redis, 'PUBLISH', keys.bus, '\0tidings:message E\nx');
    await push.send('alice', 'one');
    await until('the message', () => page.frames('message').length === 1);
    await until('the message in plain mode', () => plain.received.length > 0);
    assert.deepEqual(plain.received, ['one']);
    assert.equal(log.filter((line) => /doorbell of the kind "z"/.test(line)).length, 1, log.join('\n'));

    const missed: string[] = [];
    const broker = redisBroker(redis.url, { prefix, intake: false });
    await broker.open({ ...silent, missed: (channel) => missed.push(channel) });
    await broker.subscribe('user:alice');
    await ask(redis, 'PUBLISH', keys.bus, '\0tidings:z something\n');
    await until('it is told that there may be something', () => missed.length > 0);
    assert.deepEqual(missed, ['user:alice']);
    await broker.close();
  });

  test('fields that are added to a message in the log are passed over, and a kind that is not known is told', async () => {
    const prefix = randomUUID();
    const { push, url, log } = await startPush({ broker: redisBroker(redis.url, { prefix }) });
    await push.send('alice', 'first');
    const { list } = new ChannelKeys(prefix, 'user:alice');
    const entry = String(await ask(redis, 'LINDEX', list, -1));
    await ask(redis, 'LSET', list, -1, entry.replace('\n', ' trace=00-ab-cd-01 x=\n'));
    const page = await Page.open(url, 'alice', { recover: { inbox: null } } as never);
    assert.equal(page.closeCode, undefined);
    assert.deepEqual(
      (await push.inbox('alice')).messages.map(({ data }: { data: unknown }) => data),
      ['first'],
    );

    await ask(redis, 'LSET', list, -1, entry.replace(/ \w\n/, ' z\n'));
    await assert.rejects(push.inbox('alice'), /damaged|no message/);
    await until('a line', () => log.some((line) => /alice/.test(line)));
    assert.ok(push.stats().storeFaults > 0);
  });

  test('a command that is not known is told once for its kind, and not in the way of others', async () => {
    const prefix = randomUUID();
    const { push, url, log } = await startPush({ broker: redisBroker(redis.url, { prefix }) });
    const page = await Page.open(url, 'alice');
    const newer = redisBroker(redis.url, { prefix, intake: false });
    await newer.open({
      ...silent,
      control: { name: 'newer', obey: () => 0, lapsed() {}, missed() {} },
    });
    await newer.control.say('dance', { with: 'alice', deeply: { new: true } });
    await until('a line', () => log.some((line) => /kind "?dance"?/.test(line)));
    assert.equal(await push.disconnect('alice'), 1);
    await until('the end', () => page.closeCode);
    await newer.close();
  });
});

describe('over a Cluster', needs('redis'), () => {
  let cluster: ClusterGroup;
  before(async () => {
    cluster = await startCluster();
  });
  after(() => cluster?.stop());

  test('the layout is found there, too', async () => {
    const prefix = randomUUID();
    const { push } = await startPush({ broker: redisBroker(cluster.target, { prefix }), ...QUICK });
    const state = new ChannelKeys(prefix, 'control\n').own('state');
    const { server } = await cluster.ownerOf(slotOf(state));
    await ask(server, 'HSET', state, 'layout', LAYOUT + 1);
    await until('it notices', () => push.stats().storeAway);
    const sender = redisBroker(cluster.target, { prefix, intake: false });
    await assert.rejects(sender.open(silent), { code: 'REDIS_LAYOUT' });
    await sender.close();
  });
});

/** What a store promises of messages that are sent later, each of it against every store. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import type { Broker, BrokerListener } from '../../../src/pubsub/store/broker.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import {
  BELL,
  type LaterMessage,
  MAX_FAILED,
  type Schedule,
  type Settled,
  type Taken,
} from '../../../src/pubsub/store/schedule.ts';
import { startEveryRedis } from '../../support/every-redis.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { ask } from '../../support/redis-groups.ts';

const every = startEveryRedis();
const { skip } = every;

let postgres: PostgresServer | undefined;
const { skip: withoutPostgres = false } = needs('postgres');
before(async () => {
  if (!withoutPostgres) postgres = await startPostgres();
});
after(() => postgres?.stop());

let prefixes = 0;
const kinds: Record<string, { open: () => () => Broker; skip: string | false }> = {
  memory: {
    skip: false,
    open() {
      const store = new MemoryStore();
      return () => memoryBroker(store);
    },
  },
};
for (const [name, target] of Object.entries(every.targets)) {
  kinds[name] = {
    skip,
    open() {
      const prefix = `p${++prefixes}`;
      return () => redisBroker(target(), { prefix });
    },
  };
}
kinds['PostgreSQL'] = {
  skip: withoutPostgres,
  open() {
    const schema = `p${++prefixes}`;
    return () => postgresBroker(postgres!.url, { schema, connections: 4 });
  },
};

const LEASE = 60_000;
const quiet: BrokerListener = { message() {}, transient() {}, acknowledged() {}, down() {}, up() {} };

let count = 0;
const message = (channel: string, at: number, more: Partial<LaterMessage> = {}): LaterMessage => ({
  id: `m${++count}`,
  channel,
  kind: 'text',
  payload: Buffer.from(`text ${count}`),
  at,
  settings: {},
  ...more,
});

const take = (
  schedule: Schedule,
  holder: string,
  { now = Date.now(), most = 100, bytes = 1024 * 1024, lease = LEASE } = {},
): Promise<Taken> => schedule.take(holder, { now, lease, most, bytes });

async function taken(schedule: Schedule, holder: string, wanted = {}): Promise<LaterMessage[]> {
  const answer = await take(schedule, holder, wanted);
  assert.equal(answer.state, 'held');
  return (answer.state === 'held' ? answer.messages : []).map((one) => {
    assert.ok(!('damage' in one));
    return one;
  });
}

const ids = (messages: { id: string }[]): string[] => messages.map(({ id }) => id);
const stored = (messages: { id: string }[]): Settled[] => messages.map(({ id }) => ({ id, what: 'stored' }));

for (const [kind, { open, skip }] of Object.entries(kinds)) {
  describe(`the schedule (${kind})`, { skip, timeout: 300_000 }, () => {
    const brokers: Broker[] = [];
    const start = async (make: () => Broker, listener: Partial<BrokerListener> = {}): Promise<Broker> => {
      const broker = make();
      brokers.push(broker);
      await broker.open({ ...quiet, ...listener });
      return broker;
    };
    const fresh = async (): Promise<Schedule> => (await start(open())).schedule;
    afterEach(() => Promise.all(brokers.splice(0).map((broker) => broker.close())));

    test('hands a message out as it was given, once its time has come, until it is settled', async () => {
      const schedule = await fresh();
      const payload = Buffer.from([0, 10, 13, 255, 10, 0]);
      const settings = { idempotencyKey: 'a\nb"é', idempotencyWindow: 1000, ttl: 5, replaces: '{k}' };
      const due = message('user:zoë {a} %', Date.now() - 5, { kind: 'binary', payload, settings });
      const later = message('news', Date.now() + 3_600_000);
      assert.deepEqual(await schedule.add(due, 0), { at: due.at, wasThere: false });
      await schedule.add(later, 0);
      const answer = await take(schedule, 'a.0');
      assert.equal(answer.state, 'held');
      if (answer.state !== 'held') return;
      assert.deepEqual(answer.messages, [due]);
      assert.equal(answer.next, later.at);
      assert.ok(Math.abs(answer.time - Date.now()) < 5_000);
      assert.deepEqual(await taken(schedule, 'a.0'), []);
      await schedule.settle('a.0', stored([due]));
      assert.equal((await schedule.list({ limit: 10 })).count, 1);
      assert.equal(await schedule.cancel(later.id), true);
      assert.deepEqual(await take(schedule, 'a.0'), { state: 'none' });
    });

    test('hands nothing out before both clocks say so, nor what is due in a thousand years', async () => {
      const schedule = await fresh();
      const now = Date.now();
      const soon = message('news', now + 60_000);
      const millennium = message('news', now + 1000 * 365 * 86_400_000);
      await schedule.add(soon, 0);
      await schedule.add(millennium, 0);
      // The instance's clock has been set forward.
      assert.deepEqual(await taken(schedule, 'a.0', { now: now + 86_400_000 }), []);
      const past = message('news', now - 60_000);
      await schedule.add(past, 0);
      // It has been set back.
      assert.deepEqual(await taken(schedule, 'a.0', { now: now - 120_000 }), []);
      assert.deepEqual(ids(await taken(schedule, 'a.0')), [past.id]);
      assert.deepEqual(ids((await schedule.list({ limit: 10 })).messages), [millennium.id, soon.id]);
    });

    test('keeps the order of time, and of one moment that of the calls', async () => {
      const make = open();
      const [one, other] = await Promise.all([start(make), start(make)]);
      const at = Date.now() - 1000;
      const messages = Array.from({ length: 150 }, (_, i) =>
        message(`c${i % 3}`, at - (i % 5 === 0 ? 1 : 0)),
      );
      for (const [i, each] of messages.entries()) await (i % 2 ? one : other).schedule.add(each, 0);
      const expected = [...messages].sort((a, b) => a.at - b.at);
      const found: LaterMessage[] = [];
      while (found.length < messages.length) {
        const part = await taken(one.schedule, 'a.0', { most: 64 });
        assert.ok(part.length > 0 && part.length <= 64);
        found.push(...part);
      }
      assert.deepEqual(ids(found), ids(expected));
    });

    test('gives no more than so many bytes at a time, but one message whatever its size', async () => {
      const schedule = await fresh();
      for (let i = 0; i < 4; i++)
        await schedule.add(message('big', 1, { payload: Buffer.alloc(1000, i) }), 0);
      assert.equal((await taken(schedule, 'a.0', { bytes: 10 })).length, 1);
      assert.equal((await taken(schedule, 'a.0', { bytes: 1500 })).length, 2);
      assert.equal((await taken(schedule, 'a.0', { most: 0 })).length, 0);
      assert.equal((await taken(schedule, 'a.0')).length, 1);
    });

    test('hands out to one instance, and to another when the lease is over or given back', async () => {
      const schedule = await fresh();
      const messages = [message('a', 1), message('a', 2), message('b', 3)];
      for (const each of messages) await schedule.add(each, 0);
      assert.deepEqual(ids(await taken(schedule, 'a.0', { lease: 300, most: 2 })), ids(messages.slice(0, 2)));
      const answer = await take(schedule, 'b.0', { lease: 300 });
      assert.ok(answer.state === 'other' && answer.left > 0 && answer.left <= 300, JSON.stringify(answer));
      // Nobody renews it.
      await until(
        'the lease to be over',
        async () => (await take(schedule, 'b.0', { most: 0 })).state === 'held',
      );
      // What was handed out comes first, in its order.
      assert.deepEqual(ids(await taken(schedule, 'b.0')), ids(messages));
      // What the first one says of it comes late, and is right.
      await schedule.settle('a.0', stored(messages.slice(0, 1)));
      // What he wants back is not his any more.
      await schedule.settle('a.0', [{ id: messages[1]!.id, what: 'back' }]);
      assert.deepEqual(await taken(schedule, 'b.0'), []);
      await schedule.settle('b.0', stored(messages.slice(1, 2)), true);
      assert.deepEqual(ids(await taken(schedule, 'c.0')), ids(messages.slice(2)));
      await schedule.settle('c.0', stored(messages), true);
      assert.deepEqual(await take(schedule, 'c.0'), { state: 'none' });
    });

    test('hands out again what an instance may not have heard of, when it comes with another number', async () => {
      const schedule = await fresh();
      const messages = [message('a', 1), message('a', 2)];
      for (const each of messages) await schedule.add(each, 0);
      await taken(schedule, 'a.0');
      assert.deepEqual(ids(await taken(schedule, 'a.1')), ids(messages));
    });

    test('what is cancelled is never handed out; what was handed out and may be stored can not be', async () => {
      const schedule = await fresh();
      const [waiting, handed, unknown, refused] = Array.from({ length: 4 }, (_, i) =>
        message(`c${i}`, 1),
      ) as [LaterMessage, LaterMessage, LaterMessage, LaterMessage];
      await schedule.add(waiting, 0);
      assert.equal(await schedule.cancel(waiting.id), true);
      assert.equal(await schedule.cancel(waiting.id), false);
      assert.equal(await schedule.cancel('nothing of the kind'), false);
      for (const each of [handed, unknown, refused]) await schedule.add(each, 0);
      assert.deepEqual(ids(await taken(schedule, 'a.0')), ids([handed, unknown, refused]));
      await schedule.settle('a.0', [
        { id: unknown.id, what: 'unknown', milliseconds: 60_000 },
        { id: refused.id, what: 'held', milliseconds: 60_000 },
      ]);
      assert.equal(await schedule.cancel(handed.id), false);
      assert.equal(await schedule.cancel(unknown.id), false);
      assert.equal(await schedule.cancel(refused.id), true);
      // Whoever took it is gone: it may have been stored.
      assert.deepEqual(ids(await taken(schedule, 'a.1')), [handed.id]);
      await schedule.settle('a.1', [{ id: handed.id, what: 'back' }]);
      assert.equal(await schedule.cancel(handed.id), false);
    });

    test('a channel that can not be written to is left alone for a while, in order, and no other is', async () => {
      const schedule = await fresh();
      const bad = Array.from({ length: 3 }, (_, i) => message('bad', i + 1));
      const good = Array.from({ length: 3 }, (_, i) => message('good', i + 1));
      for (let i = 0; i < 3; i++) for (const each of [bad[i]!, good[i]!]) await schedule.add(each, 0);
      const [first] = await taken(schedule, 'a.0', { most: 1 });
      assert.equal(first!.id, bad[0]!.id);
      await schedule.settle('a.0', [{ id: first!.id, what: 'held', milliseconds: 1500 }]);
      assert.deepEqual(ids(await taken(schedule, 'a.0')), ids(good));
      const { messages } = await schedule.list({ channel: 'bad', limit: 10 });
      assert.deepEqual(ids(messages), ids([...bad].reverse()));
      assert.ok(messages.every(({ place, at }) => place.due > at));
      let again: LaterMessage[] = [];
      await until('its time to be over', async () => {
        again = await taken(schedule, 'a.0');
        return again.length > 0;
      });
      assert.deepEqual(ids(again), ids(bad));
      // The second time it takes twice as long.
      await schedule.settle('a.0', [{ id: bad[0]!.id, what: 'held', milliseconds: 30_000 }]);
      const [held] = (await schedule.list({ channel: 'bad', limit: 10 })).messages;
      assert.ok(held!.place.due > Date.now() + 50_000, `${held!.place.due - Date.now()}`);
    });

    test('what became due while its channel was held does not overtake what it was held for, whenever somebody asks', async () => {
      const schedule = await fresh();
      const held = Array.from({ length: 6 }, (_, i) => message('bad', i + 1));
      for (const each of held) await schedule.add(each, 0);
      assert.deepEqual(ids(await taken(schedule, 'a.0')), ids(held));
      await schedule.settle(
        'a.0',
        held.map(({ id }) => ({ id, what: 'held', milliseconds: 300 })),
      );
      const start = Date.now();
      const meanwhile = Array.from({ length: 2 }, (_, i) => message('bad', start + 100 + i));
      const behind = message('bad', start + 400);
      const other = message('good', start + 50);
      for (const each of [...meanwhile, behind, other]) await schedule.add(each, 0);
      // Nobody asks before all of it is over.
      await until('the last to be due', () => Date.now() > start + 900);
      const first = await taken(schedule, 'a.0', { most: 2 });
      await schedule.settle(
        'a.0',
        first.map(({ id }) => ({ id, what: 'stored' })),
      );
      const rest: LaterMessage[] = [];
      await until('the rest', async () => {
        rest.push(...(await taken(schedule, 'a.0', { most: 2 })));
        return first.length + rest.length >= 10;
      });
      const inOrder = [...first, ...rest].filter(({ channel }) => channel === 'bad');
      assert.deepEqual(ids(inOrder), ids([...held, ...meanwhile, behind]));
    });

    test('an id is scheduled once, whoever asks for it again', async () => {
      const make = open();
      const [one, other] = await Promise.all([start(make), start(make)]);
      const at = Date.now() + 1000;
      const again = { id: 'the same', payload: Buffer.from('other') };
      const first = message('news', at, { id: 'the same' });
      assert.equal((await one.schedule.add(first, 0)).wasThere, false);
      assert.deepEqual(await other.schedule.add(message('news', at + 1, again), 0), { at, wasThere: true });
      const { messages } = await one.schedule.list({ limit: 10 });
      assert.deepEqual(
        messages.map(({ payload }) => payload.toString()),
        [first.payload.toString()],
      );
      assert.equal(await one.schedule.cancel('the same'), true);
      assert.equal((await other.schedule.add(message('news', at + 1, again), 0)).wasThere, false);
    });

    test('no more than so many are scheduled, and one that is there already is told nevertheless', async () => {
      const schedule = await fresh();
      const results = await Promise.allSettled(
        Array.from({ length: 100 }, (_, i) => schedule.add(message(`c${i}`, Date.now() + 60_000), 60)),
      );
      const refused = results.filter((result) => result.status === 'rejected');
      assert.equal(refused.length, 40);
      for (const { reason } of refused) {
        assert.ok(reason instanceof RangeError);
        assert.equal((reason as { code?: unknown }).code, 'TOO_MANY_SCHEDULED');
      }
      const { messages, count } = await schedule.list({ limit: 1 });
      assert.equal(count, 60);
      assert.equal((await schedule.add(messages[0]!, 60)).wasThere, true);
      await schedule.cancel(messages[0]!.id);
      assert.equal((await schedule.add(message('c', 1), 60)).wasThere, false);
    });

    test('lists page by page, all or of one channel, also of many at one moment', async () => {
      const schedule = await fresh();
      const moment = Date.now() + 60_000;
      const all = Array.from({ length: 230 }, (_, i) =>
        message(i % 10 === 0 ? 'ten' : `c${i}`, moment + (i % 3)),
      );
      await Promise.all(all.map((each) => schedule.add(each, 0)));
      for (const channel of [undefined, 'ten', 'nobody']) {
        const own = all.filter((each) => channel === undefined || each.channel === channel);
        const found: LaterMessage[] = [];
        for (let page = await schedule.list({ limit: 9, ...(channel && { channel }) }); ; ) {
          assert.equal(page.count, 230);
          found.push(...page.messages);
          if (!page.hasMore) break;
          assert.equal(page.messages.length, 9);
          const before = page.messages.at(-1)!.place;
          // It need not be there any more.
          await schedule.cancel(page.messages.at(-1)!.id);
          await schedule.add({ ...page.messages.at(-1)!, at: moment + 1_000_000 }, 0);
          page = await schedule.list({ limit: 9, before, ...(channel && { channel }) });
        }
        for (const { id } of found) await schedule.cancel(id);
        await Promise.all(own.map((each) => schedule.add(each, 0)));
        assert.equal(new Set(ids(found)).size, found.length);
        assert.deepEqual(new Set(ids(found)), new Set(ids(own)));
        assert.ok(found.every(({ at }, i) => i === 0 || found[i - 1]!.at >= at));
      }
      const before = { due: moment + 1, at: moment + 1, number: 0 };
      const { messages } = await schedule.list({ limit: 200, before });
      assert.deepEqual(new Set(ids(messages)), new Set(ids(all.filter(({ at }) => at === moment))));
    });

    test('a page of the list has no more than some bytes', async () => {
      const schedule = await fresh();
      for (let i = 0; i < 5; i++) {
        await schedule.add(message('big', Date.now() + 60_000 + i, { payload: Buffer.alloc(700_000) }), 0);
      }
      const { messages, hasMore } = await schedule.list({ limit: 100 });
      assert.equal(messages.length, 2);
      assert.equal(hasMore, true);
    });

    test('what could never be stored is listed, as many as are kept', async () => {
      const schedule = await fresh();
      const bad = Array.from({ length: MAX_FAILED + 5 }, () => message('bad', 1));
      await Promise.all(bad.map((each) => schedule.add(each, 0)));
      for (let found = await taken(schedule, 'a.0'); found.length > 0; ) {
        const outcomes = found.map(({ id, channel, at }) => ({
          id,
          what: 'failed' as const,
          failure: { id, channel, at, time: 5, reason: 'why "not"\n' },
        }));
        await schedule.settle('a.0', outcomes);
        // Told twice, as by an attempt whose answer got lost, it is listed once.
        await schedule.settle('a.0', outcomes);
        const answer = await take(schedule, 'a.0');
        found = answer.state === 'held' ? (answer.messages as LaterMessage[]) : [];
      }
      const failed = await schedule.failed(MAX_FAILED);
      assert.equal(failed.length, MAX_FAILED);
      assert.deepEqual(failed[0], {
        id: bad.at(-1)!.id,
        channel: 'bad',
        at: 1,
        time: 5,
        reason: 'why "not"\n',
      });
      assert.deepEqual(await schedule.failed(1), failed.slice(0, 1));
      assert.deepEqual(await take(schedule, 'a.0'), { state: 'none' });
    });

    test('the bell rings when something is due before all others, and then only', async () => {
      const make = open();
      let rung = 0;
      const listening = await start(make, {
        transient(channel) {
          if (channel === BELL) rung++;
        },
      });
      await listening.subscribe(BELL);
      const { schedule } = await start(make);
      const at = Date.now() + 60_000;
      await schedule.add(message('a', at), 0);
      await until('the bell', () => rung === 1);
      await schedule.add(message('a', at + 1), 0);
      await schedule.add(message('a', at), 0);
      await schedule.add(message('a', at - 1), 0);
      await until('the bell', () => rung >= 2);
      assert.equal(rung, 2);
    });
  });
}

describe('the schedule in Redis', { skip, timeout: 300_000 }, () => {
  const key = (prefix: string, name: string): string => `{${prefix}:schedule\n}:${name}`;

  test('what somebody has written into it is told, and holds up nothing', async () => {
    const broker = redisBroker(every.redis.url, { prefix: 'odd' });
    await broker.open(quiet);
    const { schedule } = broker;
    try {
      const good = message('good', 5);
      await schedule.add(good, 0);
      await schedule.add(message('odd', 3, { id: 'odd' }), 0);
      await schedule.add(message('odd', 4, { id: 'lost' }), 0);
      await ask(every.redis, 'HSET', key('odd', 'items'), 'odd', 'x'.repeat(100));
      await ask(every.redis, 'HDEL', key('odd', 'items'), 'lost');
      const answer = await take(schedule, 'a.0');
      assert.ok(answer.state === 'held');
      const [odd, ...rest] = answer.messages;
      assert.ok(odd !== undefined && 'damage' in odd && odd.id === 'odd');
      assert.deepEqual(rest, [good]);
      await schedule.settle('a.0', [
        ...stored([good]),
        { id: 'odd', what: 'failed', failure: { id: 'odd', channel: '', at: 0, time: 1, reason: 'odd' } },
      ]);
      assert.deepEqual(await schedule.failed(5), [{ id: 'odd', channel: '', at: 0, time: 1, reason: 'odd' }]);
    } finally {
      await broker.close();
    }
  });

  test('where its keys are damaged, that is told with their names, and nothing else suffers', async () => {
    const warnings: string[] = [];
    const broker = redisBroker(every.redis.url, { prefix: 'damaged' });
    await broker.open({ ...quiet, warn: (text) => warnings.push(text) });
    try {
      await ask(every.redis, 'SET', key('damaged', 'when'), 'text');
      await assert.rejects(broker.schedule.add(message('a', 1), 0), /\{damaged:schedule/);
      await assert.rejects(take(broker.schedule, 'a.0'), /damaged/);
      assert.equal(warnings.length, 1);
      assert.equal(broker.faultCount, 1);
      await broker.publish('a', 'text', Buffer.from('x'), { retention: { maxMessages: 5, maxAge: 10_000 } });
      await ask(every.redis, 'DEL', key('damaged', 'when'));
      await broker.schedule.add(message('a', 1), 0);
      assert.equal((await taken(broker.schedule, 'a.0')).length, 1);
      assert.equal(broker.faultCount, 0);
    } finally {
      await broker.close();
    }
  });

  test('a clock of the store that was set back does not keep a dead instance its lease', async () => {
    const broker = redisBroker(every.redis.url, { prefix: 'clock' });
    await broker.open(quiet);
    try {
      const due = message('a', 1);
      await broker.schedule.add(due, 0);
      await taken(broker.schedule, 'dead.0', { lease: 5_000 });
      // What is left of it, an hour after the clock went back by an hour.
      await ask(every.redis, 'PEXPIRE', key('clock', 'lease'), 3_600_000);
      assert.deepEqual(ids(await taken(broker.schedule, 'b.0', { lease: 5_000 })), [due.id]);
    } finally {
      await broker.close();
    }
  });
});

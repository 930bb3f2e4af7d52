/** The engine of sources, with a source that the test plays: what becomes of each message, in which order, whatever fails. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import {
  metricsText,
  type PublishSettings,
  PushServer,
  type Sending,
  type SourceOptions,
} from '../../src/index.ts';
import { DamagedChannelError } from '../../src/pubsub/store/broker.ts';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { MessageError, type SourceDriver, SourceSetupError } from '../../src/sources/driver.ts';
import { checkedOptions } from '../../src/sources/options.ts';
import { Source } from '../../src/sources/source.ts';
import { until } from '../support/net.ts';
import { ScriptedDriver } from './scripted.ts';

interface Setting {
  driver: ScriptedDriver;
  source: Source;
  push: PushServer;
  /** Of each line of the log: its event. */
  events: string[];
  lines: string[];
  /** What a user or a topic has, in order. */
  stored(user: string): Promise<unknown[]>;
  /** While it gives an error, publishing fails with that. */
  fault: { of?: (channel: string, payload: string) => Error | undefined; publishes: number };
}

async function start(
  t: TestContext,
  options: SourceOptions = {},
  driver = new ScriptedDriver(),
): Promise<Setting> {
  const broker = memoryBroker();
  const fault: Setting['fault'] = { publishes: 0 };
  const publish = broker.publish.bind(broker);
  broker.publish = async (channel, kind, payload, settings) => {
    fault.publishes++;
    const error = fault.of?.(channel, payload.toString());
    if (error !== undefined) throw error;
    return publish(channel, kind, payload, settings);
  };
  const events: string[] = [];
  const lines: string[] = [];
  const push = new PushServer({
    broker,
    limits: { message: 10_000 },
    log: (level, message, fields) => {
      events.push(fields.event);
      lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
    },
  });
  await push.ready;
  const source = new Source(push, driver, checkedOptions(options));
  t.after(() => push.close());
  await source.ready;
  const stored = async (user: string): Promise<unknown[]> => {
    const { messages } = await push.inbox(user, { limit: 200 });
    return messages.map(({ data }) => data).reverse();
  };
  return { driver, source, push, events, lines, stored, fault };
}

const away = new Error('the store is away');

describe('what a message says', () => {
  test('is sent to a user, to many, to a topic, as the admin API takes it', async (t) => {
    const { driver, push, stored, source } = await start(t);
    await driver.hand('1', { user: 'alice', data: { subject: 'one' } });
    await driver.hand('2', { users: ['alice', 'bob'], data: 'two' });
    await driver.hand('3', { topic: 'news', data: [3] });
    await driver.hand('4', { user: 'alice', data: null, ttl: 60_000, replaces: 'k', topic: null });
    await driver.hand('5', { user: 'alice', data: 'later', at: '2100-01-01T00:00:00Z' });
    await driver.hand('6', '\ufeff{"user": "bob", "data": 12345678901234567890.0}');
    assert.deepEqual(driver.outcomes, ['1 done', '2 done', '3 done', '4 done', '5 done', '6 done']);
    assert.deepEqual(await stored('alice'), [{ subject: 'one' }, 'two', null]);
    assert.equal((await push.channelInfo({ topic: 'news' })).messages, 1);
    assert.equal((await push.scheduled()).count, 1);
    const [, last] = (await push.inbox('bob', {}, (_, bytes) => bytes.toString())).messages.reverse();
    assert.equal(last?.data, '12345678901234567890.0', 'as it came');
    assert.equal(source.counts.stored, 6);
    assert.equal(source.counts.underWay, 0);
    assert.equal(source.counts.underWayBytes, 0);
  });

  const poison: [name: string, body: unknown, reason: RegExp][] = [
    ['no JSON', '{"user": "alice", "data": secretword', /^the message is not JSON$/],
    ['nothing', '', /is not JSON/],
    ['no object', '[1]', /is no object/],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), /is not UTF-8/],
    ['nobody', { data: 1 }, /one of user, users and topic/],
    ['two kinds of receivers', { user: 'a', topic: 'b', data: 1 }, /one of user, users and topic/],
    ['no data', { user: 'alice' }, /has no data/],
    ['a field that there is not', { user: 'alice', data: 1, tll: 5 }, /there is no tll; is ttl meant\?/],
    ['an unfit user', { user: 'a\u0000', data: 1 }, /control characters/],
    ['a user that is no name', { user: 7, data: 1 }, /user name/],
    ['a reserved topic', { topic: 'user:alice', data: 1 }, /is not a topic/],
    ['an unfit time', { user: 'alice', data: 1, at: 'soon' }, /at is milliseconds/],
    ['an unfit ttl', { user: 'alice', data: 1, ttl: -1 }, /ttl is a whole number/],
    ['an unfit key', { user: 'alice', data: 1, idempotencyKey: 'k'.repeat(257) }, /idempotency key/],
    ['too much', { user: 'alice', data: 'x'.repeat(10_001) }, /over limits\.message/],
    ['far too much', ' '.repeat(3_000_000), /^the message has 3000000 bytes, and may have 2107152$/],
    ['users that are none', { users: 'alice', data: 1 }, /array of names/],
    ['too many users', { users: new Array(10_001).fill('u'), data: 1 }, /at most 10000 users/],
  ];
  for (const [name, body, reason] of poison) {
    test(`${name} goes to the dead letters with the reason, and holds up nobody`, async (t) => {
      const { driver, source, events, lines, stored } = await start(t);
      const all = [driver.hand('bad', body), driver.hand('good', { user: 'alice', data: 'good' })];
      await Promise.all(all);
      assert.deepEqual([...driver.outcomes].sort(), ['bad dead', 'good done']);
      assert.match(driver.reasons.get('bad')!, reason);
      assert.deepEqual(await stored('alice'), ['good']);
      assert.equal(source.counts.dead, 1);
      assert.ok(events.includes('source-message-dead'));
      assert.ok(!lines.join('\n').includes('secretword'), 'what it says is not in the log');
    });
  }

  test('of many users those get it that can, and the message is dead for the others', async (t) => {
    const { driver, stored } = await start(t);
    await driver.hand('1', { users: ['alice', '', 7, 'bob', '..', '.'], data: 'x' });
    assert.deepEqual(driver.outcomes, ['1 dead']);
    assert.match(driver.reasons.get('1')!, /^not for 4 of 6 users: "": .*; number: .*; "\.\.": .*; …$/);
    assert.deepEqual(await stored('alice'), ['x']);
    assert.deepEqual(await stored('bob'), ['x']);
  });

  test('a damaged channel is no reason to wait', async (t) => {
    const { driver, fault, stored } = await start(t);
    fault.of = (channel) =>
      channel === 'user:alice' ? new DamagedChannelError(channel, 'it is') : undefined;
    await Promise.all([
      driver.hand('1', { user: 'alice', data: 1 }),
      driver.hand('2', { user: 'bob', data: 2 }),
    ]);
    assert.match(driver.reasons.get('1')!, /damaged/);
    assert.deepEqual(await stored('bob'), [2]);
  });
});

describe('order and failures', () => {
  test('what can not be stored now is tried again in its place, and nothing of the user overtakes it', async (t) => {
    const { driver, source, events, stored, fault } = await start(t);
    fault.of = (channel) => (channel === 'user:alice' ? away : undefined);
    const all = Array.from({ length: 20 }, (_, i) => driver.hand(`a${i}`, { user: 'alice', data: i }));
    await driver.hand('b', { user: 'bob', data: 'not held up' });
    assert.deepEqual(driver.outcomes, ['b done']);
    await until('some attempts', () => source.counts.retries >= 3);
    assert.equal(source.counts.underWay, 20);
    assert.equal(fault.publishes, source.counts.retries + 1, 'only the first one is tried');
    delete fault.of;
    await Promise.all(all);
    assert.deepEqual(
      await stored('alice'),
      Array.from({ length: 20 }, (_, i) => i),
    );
    assert.deepEqual(
      events.filter((event) => event.startsWith('source-')),
      ['source-connected', 'source-waits', 'source-goes-on'],
    );
    assert.equal(source.counts.dead, 0);
  });

  test('poison among good ones leaves the order of the others', async (t) => {
    const { driver, stored } = await start(t);
    const all = Array.from({ length: 60 }, (_, i) =>
      driver.hand(`${i}`, i % 3 === 1 ? { user: 'alice', data: i, ttl: 0 } : { user: 'alice', data: i }),
    );
    await Promise.all(all);
    assert.deepEqual(
      await stored('alice'),
      Array.from({ length: 60 }, (_, i) => i).filter((i) => i % 3 !== 1),
    );
  });

  test('a message for many stands in the order of each of them', async (t) => {
    const { driver, stored, fault } = await start(t);
    let isHeld = true;
    fault.of = (channel) => (isHeld && channel === 'user:bob' ? away : undefined);
    const all = [
      driver.hand('1', { user: 'bob', data: 1 }),
      driver.hand('2', { users: ['alice', 'bob'], data: 2 }),
      driver.hand('3', { user: 'alice', data: 3 }),
      driver.hand('4', { user: 'carol', data: 4 }),
    ];
    await until('carol', async () => (await stored('carol')).length === 1);
    assert.deepEqual(await stored('alice'), []);
    isHeld = false;
    await Promise.all(all);
    assert.deepEqual(await stored('alice'), [2, 3]);
    assert.deepEqual(await stored('bob'), [1, 2]);
  });

  test('of many users only those are tried again that have failed', async (t) => {
    const { driver, stored, fault, source } = await start(t);
    let isHeld = true;
    fault.of = (channel) => (isHeld && channel === 'user:bob' ? away : undefined);
    const handed = driver.hand('1', { users: ['alice', 'bob', ''], data: 1 });
    await until('attempts', () => source.counts.retries >= 2);
    assert.deepEqual(await stored('alice'), [1]);
    isHeld = false;
    await handed;
    assert.match(driver.reasons.get('1')!, /not for 1 of 3 users/);
    assert.deepEqual(await stored('alice'), [1]);
    assert.deepEqual(await stored('bob'), [1]);
  });

  test('where nothing is known of any of many users, all of them are tried again', async (t) => {
    const { driver, push, source, stored } = await start(t);
    const sendMany = push.sendMany.bind(push);
    push.sendMany = (() => Promise.reject(away)) as unknown as typeof push.sendMany;
    const handed = driver.hand('1', { users: ['alice', 'bob'], data: 1 });
    await until('attempts', () => source.counts.retries >= 2);
    push.sendMany = sendMany;
    assert.equal((await handed).what, 'done');
    assert.deepEqual(await stored('bob'), [1]);
  });

  test('an outage of which each message has a reason of its own is a few lines in the log', async (t) => {
    const { driver, source, fault, events } = await start(t);
    fault.of = (channel) => new Error(`${channel} is away, as was seen ${fault.publishes} times`);
    const all = Array.from({ length: 50 }, (_, i) => driver.hand(`${i}`, { user: `u${i}`, data: i }));
    await until('attempts', () => source.counts.retries >= 150);
    delete fault.of;
    await Promise.all(all);
    assert.ok(events.filter((event) => event === 'source-waits').length <= 10);
    assert.ok(events.includes('source-goes-on'));
  });

  test('a lost connection is not made again while the store is away, as what is read then would only go back', async (t) => {
    const { driver, source, fault, push, stored } = await start(t);
    fault.of = () => away;
    const first = driver.hand('1', { user: 'alice', data: 1 });
    await until('an attempt', () => source.counts.retries >= 1);
    let looks = 0;
    let storeAwayFor: number | undefined = 1;
    push.health = () => {
      looks++;
      return { ready: true, ...(storeAwayFor !== undefined && { storeAwayFor }) };
    };
    driver.lose();
    assert.equal((await first).what, 'released');
    await until('it to look', () => looks >= 3);
    assert.equal(driver.runs, 1);
    storeAwayFor = undefined;
    delete fault.of;
    await until('another connection', () => driver.runs === 2);
    await driver.hand('1', { user: 'alice', data: 1 });
    assert.deepEqual(await stored('alice'), [1]);
  });

  test('a full schedule is waited for', async (t) => {
    const { driver, fault, push, source } = await start(t);
    let isFull = true;
    const send = push.send.bind(push);
    push.send = ((user: string, data: unknown, settings: PublishSettings) =>
      isFull
        ? Promise.reject(Object.assign(new RangeError('full'), { code: 'TOO_MANY_SCHEDULED' }))
        : send(user, data, settings)) as typeof push.send;
    const handed = driver.hand('1', { user: 'alice', data: 1, at: Date.now() + 1e9 });
    await until('attempts', () => source.counts.retries >= 2);
    isFull = false;
    await handed;
    assert.deepEqual(driver.outcomes, ['1 done']);
    assert.equal(fault.publishes, 0);
  });

  test('a lost connection gives back what has not begun; when it comes again it is stored once, in order', async (t) => {
    const { driver, source, stored, fault, events } = await start(t);
    fault.of = () => away;
    const hand = (): Promise<unknown>[] =>
      Array.from({ length: 10 }, (_, i) => driver.hand(`${i}`, { user: 'alice', data: i }));
    const first = hand();
    await until('an attempt', () => source.counts.retries >= 1);
    driver.lose(new Error('gone: amqp://guest:hunter2@example/'));
    await Promise.all(first);
    assert.equal(source.counts.released, 10);
    assert.equal(source.counts.underWay, 0);
    await until('another connection', () => driver.runs === 2);
    const second = hand();
    delete fault.of;
    await Promise.all(second);
    assert.deepEqual(
      await stored('alice'),
      Array.from({ length: 10 }, (_, i) => i),
    );
    assert.equal(source.counts.losses, 1);
    assert.deepEqual(
      events.filter((event) => /^source-(away|back)/.test(event)),
      ['source-away', 'source-back'],
    );
    driver.outcomes.length = 0;
    await Promise.all(hand());
    assert.equal(source.counts.duplicates, 10);
    assert.equal((await stored('alice')).length, 10);
  });

  test('a connection that is made again and again, and is of no use each time, is not said to be back', async (t) => {
    const { driver, events, source } = await start(t);
    const said = (): string[] => events.filter((event) => /^source-(away|back)/.test(event));
    for (let n = 1; n <= 4; n++) {
      driver.lose(new Error('not allowed'));
      await until('another connection', () => driver.runs === n + 1 && source.counts.connected);
    }
    assert.deepEqual(said(), ['source-away', 'source-back', 'source-away']);
    await driver.hand('1', { user: 'alice', data: 1 });
    assert.equal(said().at(-1), 'source-back');
  });

  test('a connection that is refused is tried again, without a flood of lines or of attempts', async (t) => {
    const { driver, source, events } = await start(t);
    driver.refusal = new Error('refused');
    driver.lose();
    await until('attempts', () => driver.runs >= 4);
    driver.refusal = undefined;
    await until('connected', () => source.counts.connected);
    assert.equal(events.filter((event) => event === 'source-away').length, 2, 'one for each reason');
    assert.equal(events.filter((event) => event === 'source-back').length, 1);
  });
});

describe('idempotency keys', () => {
  test('ids of any length and any characters are told from each other', async (t) => {
    const { driver, source, stored } = await start(t);
    const ids = [
      '',
      'a',
      'a'.repeat(300),
      'b'.repeat(300),
      'x\ud800',
      'x\ud801',
      'x\ufffd',
      'n\u0000',
      'n\u0001',
      '%',
      ':',
    ];
    for (const id of [...ids, ...ids]) await driver.hand(id, { user: 'alice', data: id.length });
    assert.equal(source.counts.stored, ids.length);
    assert.equal(source.counts.duplicates, ids.length);
    assert.equal((await stored('alice')).length, ids.length);
  });

  test('two sources may have the same ids; two instances of one source are one', async (t) => {
    const { driver, push, stored } = await start(t);
    for (const scope of ['scripted:2', 'scripted:1']) {
      const other = new ScriptedDriver(scope);
      await new Source(push, other, checkedOptions({})).ready;
      await other.hand('1', { user: 'alice', data: scope });
    }
    await driver.hand('1', { user: 'alice', data: 'again' });
    assert.deepEqual(await stored('alice'), ['scripted:2', 'scripted:1']);
  });

  test('a key of the message itself holds in place of its id', async (t) => {
    const { driver, stored } = await start(t);
    await driver.hand('1', { user: 'alice', data: 1, idempotencyKey: 'order-7' });
    await driver.hand('2', { user: 'alice', data: 2, idempotencyKey: 'order-7' });
    assert.deepEqual(await stored('alice'), [1]);
  });
});

describe('map', () => {
  test('may give the same object for each message', async (t) => {
    const one = { user: '', data: undefined as unknown };
    const many = { users: [] as unknown as string[], data: 'all' };
    const { driver, stored } = await start(t, {
      map({ id }) {
        one.user = id;
        one.data = `for ${id}`;
        many.users.splice(0, 2, id, 'all');
        return [one, many];
      },
    });
    await Promise.all(['alice', 'bob', 'carol'].map((id) => driver.hand(id, '')));
    assert.deepEqual(driver.outcomes, ['alice done', 'bob done', 'carol done']);
    assert.deepEqual(await stored('alice'), ['for alice', 'all']);
    assert.deepEqual(await stored('bob'), ['for bob', 'all']);
    assert.deepEqual(await stored('all'), ['all', 'all', 'all']);
  });

  test('may change what it has given before that is stored', async (t) => {
    const data = { n: [0] };
    const bytes = Buffer.from('0');
    const at = new Date();
    const { driver, stored, fault, source, push } = await start(t, {
      map({ id }) {
        data.n[0] = Number(id);
        bytes.write(id);
        at.setTime(1e14 + Number(id));
        return [
          { user: 'alice', data },
          { user: 'bob', data: bytes },
          { user: 'carol', data: id, at },
        ];
      },
    });
    fault.of = () => away;
    const all = ['1', '2', '3'].map((id) => driver.hand(id, ''));
    await until('an attempt', () => source.counts.retries >= 1);
    delete fault.of;
    await Promise.all(all);
    assert.deepEqual(await stored('alice'), [{ n: [1] }, { n: [2] }, { n: [3] }]);
    assert.deepEqual((await stored('bob')).map(String), ['1', '2', '3']);
    assert.deepEqual((await push.scheduled()).messages.map((each) => each.at).sort(), [
      1e14 + 1,
      1e14 + 2,
      1e14 + 3,
    ]);
  });

  test('may take back what it has given, and harms no other message', async (t) => {
    const { driver, stored } = await start(t, {
      map({ id }) {
        const sending: { users?: unknown; data: unknown } = { users: [id], data: id };
        queueMicrotask(() => {
          sending.users = 7;
        });
        return sending as Sending;
      },
    });
    await Promise.all(['alice', 'bob'].map((id) => driver.hand(id, '')));
    assert.deepEqual(driver.outcomes, ['alice done', 'bob done']);
    assert.deepEqual(await stored('bob'), ['bob']);
  });

  test('says what a message asks for: one thing, several, or nothing', async (t) => {
    const map = ({ id, body, attributes }: { id: string; body: Buffer; attributes: object }) => {
      if (id === 'none') return undefined;
      if (id === 'empty') return [];
      if (id === 'nobody') return { users: [], data: 1 };
      if (id === 'two') return [1, 2].map((data) => ({ user: 'alice', data }));
      return { user: 'alice', data: { body: body.toString(), ...attributes } };
    };
    const { driver, source, stored } = await start(t, { map });
    await driver.hand('none', 'x');
    await driver.hand('empty', 'x');
    await driver.hand('nobody', 'x');
    await driver.hand('two', 'x');
    await driver.hand('two', 'x');
    await driver.hand('one', 'x', { attributes: { key: 'v' } });
    assert.deepEqual(await stored('alice'), [1, 2, { body: 'x', key: 'v' }]);
    assert.equal(source.counts.skipped, 3);
  });

  test('that throws, rejects, hangs or gives nonsense ends only its own message', async (t) => {
    const never = new Promise<Sending>(() => {});
    const given: Record<string, () => unknown> = {
      throws: () => {
        throw new Error('thrown');
      },
      rejects: () => Promise.reject(new Error('rejected')),
      late: () => new Promise((_, reject) => setTimeout(reject, 300, new Error('too late'))),
      hangs: () => never,
      refuses: () => {
        throw new MessageError('not for us');
      },
      number: () => 7,
      nested: () => [[{ user: 'alice', data: 1 }]],
      text: () => 'alice',
      misspelt: () => ({ user: 'alice', dta: 1 }),
      circle: () => {
        const data: { self?: unknown } = {};
        data.self = data;
        return { user: 'alice', data };
      },
      odd: () => ({ user: 'alice', data: () => 1 }),
      thrower: () => ({
        get user() {
          throw new Error('a getter');
        },
        data: 1,
      }),
      thenable: () => ({
        // biome-ignore lint/suspicious/noThenProperty: that is what it is about
        get then() {
          throw new Error('a then');
        },
      }),
    };
    const map = ({ id }: { id: string }) => (given[id]?.() ?? { user: 'alice', data: id }) as Sending;
    const { driver, source, stored } = await start(t, { map, mapTimeout: 200 });
    const names = Object.keys(given);
    const all = names.flatMap((name) => [driver.hand(name, 'x'), driver.hand(`after ${name}`, 'x')]);
    await Promise.all(all);
    assert.deepEqual(
      driver.outcomes.filter((outcome) => outcome.endsWith('dead')).length,
      names.length,
      driver.outcomes.join('\n'),
    );
    assert.deepEqual(
      await stored('alice'),
      names.map((name) => `after ${name}`),
      'in order, whatever took how long',
    );
    assert.match(driver.reasons.get('throws')!, /map threw: Error: thrown/);
    assert.match(driver.reasons.get('hangs')!, /map gave no answer: .*200 ms/);
    assert.equal(driver.reasons.get('refuses'), 'not for us');
    assert.equal(source.counts.underWay, 0);
  });
});

describe('room', () => {
  test('no more messages and bytes are under way than may be, and a driver that waits goes on', async (t) => {
    const { driver, fault, source } = await start(t, { prefetch: 8, prefetchBytes: 20_000 });
    fault.of = () => away;
    const intake = driver.intake!;
    assert.deepEqual([intake.free.messages, intake.free.bytes], [8, 20_000]);
    await intake.room();
    const all = Array.from({ length: 8 }, (_, i) => driver.hand(`${i}`, { user: `u${i}`, data: i }));
    assert.equal(intake.free.messages, 0);
    let isRoom = false;
    const waited = intake.room().then(() => {
      isRoom = true;
    });
    await until('attempts', () => source.counts.retries > 8);
    assert.equal(isRoom, false);
    delete fault.of;
    await waited;
    await Promise.all(all);
    const large = driver.hand('large', { user: 'alice', data: 'x'.repeat(15_000) });
    assert.ok(intake.free.bytes < 5_000);
    await large;
    assert.equal(intake.free.bytes, 20_000);
  });
});

describe('the end', () => {
  test('closing stores what is under way, and then says goodbye', async (t) => {
    const { driver, source, fault, stored, events } = await start(t);
    fault.of = () => away;
    const all = Array.from({ length: 5 }, (_, i) => driver.hand(`${i}`, { user: 'alice', data: i }));
    await until('an attempt', () => source.counts.retries >= 1);
    const closing = source.close();
    delete fault.of;
    await closing;
    await Promise.all(all);
    assert.equal((await stored('alice')).length, 5);
    assert.equal(source.counts.stored, 5);
    assert.ok(events.includes('source-closed'));
    assert.deepEqual(await driver.intake!.take({ id: 'x', body: Buffer.from('{}'), attributes: {} }), {
      what: 'released',
    });
    assert.equal(driver.runs, 1);
  });

  test('what can not be stored by then is given back', async (t) => {
    const { driver, source, fault } = await start(t, { closeTimeout: 50 });
    fault.of = () => away;
    const all = Array.from({ length: 5 }, (_, i) => driver.hand(`${i}`, { user: 'alice', data: i }));
    await source.close();
    await Promise.all(all);
    assert.deepEqual(
      driver.outcomes,
      Array.from({ length: 5 }, (_, i) => `${i} released`),
    );
    assert.equal(source.counts.underWay, 0);
  });

  test('a store that never answers, a map and a driver that hang keep nobody from closing', async (t) => {
    const hanging: SourceDriver = {
      kind: 'hanging',
      name: 'hanging',
      scope: 'h',
      run: (intake) => {
        intake.connected();
        return new Promise(() => {});
      },
    };
    const { driver, source, push } = await start(t, {
      closeTimeout: 50,
      map: () => new Promise<Sending>(() => {}),
    });
    const other = new Source(push, hanging, checkedOptions({ closeTimeout: 50 }));
    await other.ready;
    const handed = driver.hand('1', 'x');
    await source.close();
    assert.equal((await handed).what, 'released');
    await other.close();
  });

  test('closing the push server closes its sources while there is a store', async (t) => {
    const { driver, push, source } = await start(t);
    const handed = driver.hand('1', { user: 'alice', data: 1 });
    await push.close();
    assert.equal((await handed).what, 'done');
    assert.equal(source.counts.connected, false);
    assert.throws(() => new Source(push, driver, checkedOptions({})), /closed/);
  });

  test('what can never work is told by ready, once, and is not tried again', async (t) => {
    const { push, events } = await start(t);
    const driver = new ScriptedDriver();
    driver.refusal = new SourceSetupError('the package is missing');
    const source = new Source(push, driver, checkedOptions({}));
    await assert.rejects(source.ready, /the package is missing/);
    assert.ok(events.includes('source-failed'));
    await source.close();
    assert.equal(driver.runs, 1);
  });

  test('closing waits for nothing while a connection is being made', { timeout: 30_000 }, async (t) => {
    const { push } = await start(t);
    const run = (): Promise<void> => new Promise(() => {});
    const connecting: SourceDriver = { kind: 'silent', name: 'silent', scope: 's', run };
    const source = new Source(push, connecting, checkedOptions({ closeTimeout: 600_000 }));
    const ready = assert.rejects(source.ready, /closed before it was connected/);
    await source.close();
    await ready;
  });

  test('closing before it was connected rejects ready', async (t) => {
    const { push } = await start(t);
    const driver = new ScriptedDriver();
    driver.refusal = new Error('refused');
    const source = new Source(push, driver, checkedOptions({}));
    const ready = assert.rejects(source.ready, /closed before it was connected/);
    await source.close();
    await ready;
  });
});

test('metrics have all sources, by name and kind', async (t) => {
  const { driver, push } = await start(t);
  const other = new Source(push, new ScriptedDriver('x'), checkedOptions({ name: 'other' }));
  await other.ready;
  await driver.hand('1', { user: 'alice', data: 1 }, { time: Date.now() - 1_500 });
  await driver.hand('2', 'poison');
  const text = metricsText(push.metrics());
  const labels = 'source="a scripted source",kind="postgres"';
  assert.ok(text.includes(`tidings_source_messages_total{${labels},result="stored"} 1\n`), text);
  assert.ok(text.includes(`tidings_source_messages_total{${labels},result="dead"} 1\n`));
  assert.ok(text.includes(`tidings_source_connected{source="other",kind="postgres"} 1\n`));
  assert.ok(text.includes(`tidings_source_delay_seconds_bucket{${labels},le="2"} 1\n`));
  assert.equal(text.match(/# TYPE tidings_source_messages_total/g)?.length, 1);
  await other.close();
  assert.ok(!metricsText(push.metrics()).includes('source="other"'));
});

test('metrics of two sources of the same name are their sum, and times that can not be harm none', async (t) => {
  const { driver, push } = await start(t);
  const twin = new ScriptedDriver('scripted:2');
  await new Source(push, twin, checkedOptions({})).ready;
  for (const [i, time] of [
    Number.NEGATIVE_INFINITY,
    Number.NaN,
    Date.now(),
    Number.POSITIVE_INFINITY,
  ].entries())
    for (const each of [driver, twin]) await each.hand(`${i}`, { user: 'alice', data: i }, { time });
  const names = metricsText(push.metrics())
    .split('\n')
    .filter((line) => line.startsWith('tidings_source_'))
    .map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]);
  assert.equal(new Set(names.map(([name]) => name)).size, names.length, 'each series once');
  const values = new Map(names as [string, string][]);
  const labels = 'source="a scripted source",kind="postgres"';
  assert.equal(values.get(`tidings_source_messages_total{${labels},result="stored"}`), '8');
  assert.equal(values.get(`tidings_source_connected{${labels}}`), '1');
  assert.equal(values.get(`tidings_source_delay_seconds_count{${labels}}`), '2');
  assert.ok(Number(values.get(`tidings_source_delay_seconds_sum{${labels}}`)) < 1_000);
});

/**
 * The store against a slow model of it, over whatever several instances do to it and whatever it loses in between:
 * runs and batches, idempotency, both bounds of retention, rewinds, lost keys, acknowledgements, reads.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { RespClient } from '../../../src/pubsub/redis/resp-client.ts';
import type { RedisTarget } from '../../../src/pubsub/redis/target.ts';
import type { Broker, Position, Receipt } from '../../../src/pubsub/store/broker.ts';
import { leadsTo } from '../../../src/pubsub/store/epochs.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { Recorder } from './broker-suite.ts';

const BROKERS = 3;
const CHANNELS = 3;
const HOUR = 3_600_000;
const SHORT = 60;

interface Publish {
  type: 'publish';
  broker: number;
  channel: number;
  most: number;
  age: number;
  key: number | undefined;
}
type Action =
  | { type: 'publishes'; all: Publish[] }
  | { type: 'read'; broker: number; channel: number; behind: number; limit: number }
  | {
      type: 'acknowledge';
      broker: number;
      channel: number;
      device: number;
      behind: number;
      isForged: boolean;
    }
  | { type: 'time passes' }
  | { type: 'everything is lost' }
  | { type: 'scripts are forgotten' }
  | { type: 'save' | 'rewind' | 'the top is lost' | 'the list is lost'; channel: number };

const channelNumber = fc.nat({ max: CHANNELS - 1 });
const brokerNumber = fc.nat({ max: BROKERS - 1 });
const publish: fc.Arbitrary<Publish> = fc.record({
  type: fc.constant('publish' as const),
  broker: brokerNumber,
  channel: channelNumber,
  most: fc.constantFrom(3, 16),
  age: fc.constantFrom(HOUR, HOUR, HOUR, SHORT),
  key: fc.oneof(fc.constant(undefined), fc.constant(undefined), fc.nat({ max: 5 })),
});
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('publishes' as const),
      all: fc.array(publish, { minLength: 1, maxLength: 24 }),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant('read' as const),
      broker: brokerNumber,
      channel: channelNumber,
      behind: fc.nat({ max: 24 }),
      limit: fc.constantFrom(0, 1, 4, 200),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('acknowledge' as const),
      broker: brokerNumber,
      channel: channelNumber,
      device: fc.nat({ max: 2 }),
      behind: fc.nat({ max: 4 }),
      isForged: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constantFrom('time passes', 'everything is lost', 'scripts are forgotten'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constantFrom('save', 'rewind', 'the top is lost', 'the list is lost'),
      channel: channelNumber,
    }),
  },
) as fc.Arbitrary<Action>;

interface Stored extends Position {
  payload: string;
}

class ModelChannel {
  readonly name: string;
  top: Position | undefined;
  log: Stored[] = [];
  most = 0;
  /** Messages up to this one may have been out of bounds at some time. */
  unpromised = 0;
  age = 0;
  receipts = new Map<number, Receipt>();
  cursors = new Map<string, Position>();
  /** What each broker has stored last: what it knows the log to have had. */
  known = new Map<number, Position>();
  saved: { top: Position; log: Stored[]; most: number; age: number } | undefined;
  /** Epochs of who found it unused, with whether something was lost since. */
  looks: { epoch: string; hasLost: boolean }[] = [];

  constructor(name: string) {
    this.name = name;
  }

  /** The first who asks after that finds a loss; nobody before it may be told that nothing was. */
  lose(): void {
    if ((this.top?.offset ?? 0) > 0) for (const look of this.looks) look.hasLost = true;
  }

  knowsBetter(broker: number): boolean {
    const known = this.known.get(broker);
    if (known === undefined || this.top === undefined || known.epoch !== this.top.epoch) return false;
    const { offset, id } = this.top;
    return known.offset > offset || (known.offset === offset && known.id !== id);
  }
}

class Run {
  readonly #brokers: Broker[];
  readonly #client: RespClient;
  readonly #channels: ModelChannel[];
  #sent = 0;

  constructor(brokers: Broker[], client: RespClient, name: string) {
    this.#brokers = brokers;
    this.#client = client;
    this.#channels = Array.from({ length: CHANNELS }, (_, i) => new ModelChannel(`user:${name}-${i}`));
  }

  async do(action: Action): Promise<void> {
    if (action.type === 'publishes') return this.#publish(action.all);
    if (action.type === 'everything is lost') {
      await this.#client.command('FLUSHALL');
      for (const channel of this.#channels) {
        for (const look of channel.looks) look.hasLost = true;
        channel.top = undefined;
        channel.log = [];
        channel.receipts.clear();
        channel.cursors.clear();
        channel.saved = undefined;
      }
      return;
    }
    if (action.type === 'scripts are forgotten') {
      await this.#client.command('SCRIPT', 'FLUSH');
      return;
    }
    if (action.type === 'time passes') {
      const end = performance.now() + SHORT;
      await until('some time', () => performance.now() > end);
      return;
    }
    const channel = this.#channels[action.channel]!;
    if (action.type === 'read') return this.#read(channel, action.broker, action.behind, action.limit);
    if (action.type === 'acknowledge') {
      return this.#acknowledge(channel, action.broker, action.device, action.behind, action.isForged);
    }
    return this.#damage(channel, action.type);
  }

  async #publish(all: Publish[]): Promise<void> {
    const calls = all.map(async (one) => {
      const { broker, most, age, key } = one;
      const channel = this.#channels[one.channel]!;
      const payload = `message ${this.#sent++}`;
      const receipt = await this.#brokers[broker]!.publish(channel.name, 'text', Buffer.from(payload), {
        retention: { maxMessages: most, maxAge: age },
        ...(key === undefined ? {} : { idempotencyKey: `key ${key}` }),
      });
      return { ...one, payload, receipt };
    });
    const done = await Promise.all(calls);
    for (const channel of this.#channels) {
      const own = done.filter((one) => this.#channels[one.channel] === channel);
      if (own.length === 0) continue;
      for (const broker of this.#brokers.keys()) {
        const offsets = own.filter((one) => one.broker === broker && !one.receipt.duplicate);
        assert.deepEqual(
          offsets.map(({ receipt }) => receipt.offset),
          offsets.map(({ receipt }) => receipt.offset).sort((x, y) => x - y),
          'what one sends keeps its order',
        );
      }
      const before = channel.top;
      const stored = own
        .filter(({ receipt }) => !receipt.duplicate)
        .sort((x, y) => x.receipt.offset - y.receipt.offset);
      for (const { broker, receipt, payload, most, age, key } of stored) {
        const { epoch, offset, id } = receipt;
        assert.equal(offset, (channel.top?.offset ?? 0) + 1, 'offsets are contiguous');
        if (channel.top === undefined) {
          assert.notEqual(epoch, before?.epoch);
          channel.unpromised = 0;
          for (const look of channel.looks) {
            assert.equal(leadsTo(look.epoch, epoch), !look.hasLost, `${look.epoch} and ${epoch}`);
          }
        } else if (channel.knowsBetter(broker))
          assert.notEqual(epoch, channel.top.epoch, 'a rewind is noticed');
        else assert.equal(epoch, channel.top.epoch);
        channel.top = { epoch, offset, id };
        channel.log.push({ ...channel.top, payload });
        Object.assign(channel, { most, age });
        channel.unpromised = Math.max(channel.unpromised, age === SHORT ? offset : offset - most);
        channel.known.set(broker, channel.top);
        if (key !== undefined) {
          assert.equal(channel.receipts.has(key), false, 'a key is stored once');
          channel.receipts.set(key, receipt);
        }
      }
      for (const { receipt, key } of own.filter((one) => one.receipt.duplicate)) {
        assert.deepEqual(receipt, { ...channel.receipts.get(key!)!, duplicate: true });
      }
      await this.#compare(channel);
    }
  }

  async #compare(channel: ModelChannel): Promise<void> {
    // By a broker that knows of nothing: the last one publishes never.
    const [top] = await this.#brokers.at(-1)!.tops([channel.name]);
    assert.deepEqual(top, channel.top ?? { epoch: '', offset: 0, id: '' });
  }

  async #time(): Promise<number> {
    const [seconds, micros] = (await this.#client.command('TIME')) as string[];
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  }

  async #read(channel: ModelChannel, broker: number, behind: number, limit: number): Promise<void> {
    const offset = Math.max(0, (channel.top?.offset ?? 0) - behind);
    const from = await this.#time();
    const page = await this.#brokers[broker]!.read(channel.name, offset, limit);
    const { epoch } = page.top;
    if (channel.top === undefined) {
      assert.deepEqual([page.messages, page.top.offset, page.top.id, page.first], [[], 0, '', 1]);
      for (const look of channel.looks) assert.equal(leadsTo(look.epoch, epoch), !look.hasLost);
      if (epoch.startsWith('.')) channel.looks.push({ epoch, hasLost: false });
      // Something was lost: the channel begins anew, and what was acknowledged is of another epoch.
      else channel.top = page.top;
      channel.log = [];
      return;
    }
    if (channel.knowsBetter(broker)) {
      assert.notEqual(epoch, channel.top.epoch, 'a rewind is noticed');
      channel.top = { ...channel.top, epoch };
    }
    assert.deepEqual(page.top, channel.top);
    const top = page.top.offset;
    const kept = channel.log.filter((message) => message.offset > top - channel.most);
    const offsets = page.messages.map((message) => message.offset);
    assert.deepEqual(
      offsets,
      offsets.map((_, i) => offsets[0]! + i),
      'a page has no holes',
    );
    if (offsets.length > 0) assert.equal(offsets[0], Math.max(offset + 1, page.first));
    assert.ok(page.messages.length <= limit, `${page.messages.length} messages`);
    for (const message of page.messages) {
      const stored = kept.find((one) => one.offset === message.offset);
      assert.deepEqual([message.id, message.payload.toString()], [stored?.id, stored?.payload]);
      assert.equal(message.epoch, epoch);
      assert.ok(message.time > from - channel.age, 'nothing is read that is too old');
    }
    // What is young enough is there.
    const last = kept.at(-1);
    const isYoung = channel.age === HOUR && last !== undefined;
    // What a stricter bound has removed in between does not come back.
    if (isYoung) {
      const [least, most] = [kept[0]!.offset, Math.max(channel.unpromised + 1, kept[0]!.offset)];
      assert.ok(page.first >= least && page.first <= most, `first is ${page.first}, not ${least} to ${most}`);
    }
    if (isYoung) {
      const wanted = kept.filter((one) => one.offset > offset && one.offset >= page.first).slice(0, limit);
      assert.deepEqual(
        offsets,
        wanted.map((one) => one.offset),
      );
    }
    // What was removed for its age stays removed.
    const [stored] = (await this.#brokers.at(-1)!.read(channel.name, 0, 1)).messages;
    channel.log = channel.log.filter((one) => stored !== undefined && one.offset >= stored.offset);
    assert.ok(stored === undefined || stored.time > from - channel.age, 'nothing is read that is too old');
  }

  async #acknowledge(
    channel: ModelChannel,
    broker: number,
    device: number,
    behind: number,
    isForged: boolean,
  ): Promise<void> {
    const at = channel.log.at(-1 - behind);
    if (at === undefined || channel.top === undefined) return;
    const position: Position = {
      epoch: channel.top.epoch,
      offset: at.offset,
      id: isForged ? 'x'.repeat(16) : at.id,
    };
    const name = `device ${device}`;
    await this.#brokers[broker]!.acknowledge({ channel: channel.name, device: name, position }, HOUR);
    const known = channel.cursors.get(name);
    const isForward = known === undefined || known.epoch !== position.epoch || known.offset < position.offset;
    const found = await this.#brokers.at(-1)!.cursors(channel.name);
    const own = found.find((cursor) => cursor.device === name)?.position;
    const isThere =
      (await this.#brokers.at(-1)!.read(channel.name, at.offset - 1, 1)).messages[0]?.offset === at.offset;
    // Of what is not kept any more, nobody knows the id.
    if (isForged && !isThere)
      channel.cursors = new Map(found.map((cursor) => [cursor.device, cursor.position]));
    else if (isForward && !isForged) channel.cursors.set(name, position);
    assert.deepEqual(own, channel.cursors.get(name));
    assert.deepEqual(new Map(found.map((cursor) => [cursor.device, cursor.position])), channel.cursors);
  }

  async #damage(
    channel: ModelChannel,
    what: 'save' | 'rewind' | 'the top is lost' | 'the list is lost',
  ): Promise<void> {
    const [top, list] = [`{tidings:${channel.name}}:top`, `{tidings:${channel.name}}:list`];
    const copies = [top, list].map((key) => [key, key.replace('}', '}:saved')]);
    if (what === 'save') {
      if (channel.top === undefined) return;
      for (const [key, copy] of copies) {
        await this.#client.command('DEL', copy!);
        await this.#client.command('COPY', key!, copy!);
      }
      channel.saved = { ...channel, top: channel.top, log: [...channel.log] };
    } else if (what === 'rewind') {
      if (channel.saved === undefined || channel.top === undefined) return;
      for (const [key, copy] of copies) {
        await this.#client.command('DEL', key!);
        await this.#client.command('COPY', copy!, key!);
      }
      const { top: saved, log, most, age } = channel.saved;
      Object.assign(channel, { top: saved, log: [...log], most, age });
      // Receipts and cursors are keys of their own, and are not what is looked at here.
    } else if (what === 'the top is lost') {
      if ((await this.#client.command('EXISTS', list)) === 0) return;
      channel.lose();
      await this.#client.command('DEL', top);
      channel.top = undefined;
      channel.log = [];
    } else {
      await this.#client.command('DEL', list);
      channel.log = [];
    }
  }
}

describe('the store and its model', { ...needs('redis'), timeout: 600_000 }, () => {
  let redis: RedisServer;
  let client: RespClient;
  before(async () => {
    redis = await startRedis();
    client = new RespClient(redis.url);
  });
  after(async () => {
    await client.close();
    await redis.stop();
  });

  test('agree after every interleaving of what instances do and what the store loses', async () => {
    let count = 0;
    const target: RedisTarget = redis.url;
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
        const brokers = Array.from({ length: BROKERS + 1 }, () => redisBroker(target, { intake: false }));
        try {
          await Promise.all(brokers.map((broker) => broker.open(new Recorder())));
          const run = new Run(brokers, client, String(count++));
          for (const one of actions) await run.do(one);
        } finally {
          await Promise.all(brokers.map((broker) => broker.close()));
        }
      }),
      {
        includeErrorInReport: true,
        numRuns: Number(process.env['STORE_MODEL_RUNS'] ?? 60),
        seed: Number(process.env['STORE_MODEL_SEED'] ?? Date.now()),
      },
    );
  });
});

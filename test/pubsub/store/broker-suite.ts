/** The promises of pubsub/broker.ts as tests, to be run against every broker there is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  Broker,
  BrokerListener,
  Cursor,
  Position,
  PresenceEntry,
  PublishOptions,
  StoredMessage,
} from '../../../src/pubsub/store/broker.ts';
import { leadsTo } from '../../../src/pubsub/store/epochs.ts';
import type { Marked } from '../../../src/pubsub/store/marks.ts';
import { until } from '../../support/net.ts';

/** The one retained message at `offset`. */
export async function entryOf(
  broker: Broker,
  channel: string,
  offset: number,
): Promise<StoredMessage | undefined> {
  const { messages } = await broker.read(channel, offset - 1, 1);
  return messages[0]?.offset === offset ? messages[0] : undefined;
}

/** A listener that remembers what it was told. */
export class Recorder implements BrokerListener {
  readonly messages: StoredMessage[] = [];
  readonly transients: [channel: string, payload: string][] = [];
  readonly cursors: Cursor[] = [];
  readonly marks: [channel: string, marked: Marked][] = [];
  /** Offsets of messages and versions of marks, as they came. */
  readonly order: string[] = [];
  /** Every `down` and `up`, in order. */
  readonly told: ('down' | 'up')[] = [];
  downs = 0;
  ups = 0;
  /** Channels of which messages may be missing. */
  readonly missing: string[] = [];
  readonly warnings: string[] = [];

  message(message: StoredMessage): void {
    this.messages.push(message);
    this.order.push(`message ${message.offset}`);
  }
  marked(channel: string, marked: Marked): void {
    this.marks.push([channel, marked]);
    this.order.push(`marks ${marked.marks.version.offset}`);
  }
  transient(channel: string, payload: Buffer): void {
    this.transients.push([channel, payload.toString()]);
  }
  acknowledged(cursor: Cursor): void {
    this.cursors.push(cursor);
  }
  missed(channel: string): void {
    this.missing.push(channel);
  }
  warn(message: string): void {
    this.warnings.push(message);
  }
  down(): void {
    this.told.push('down');
    this.downs++;
  }
  up(): void {
    this.told.push('up');
    this.ups++;
  }
}

/** Several instances over one store. */
export interface BrokerFactory {
  /** A new broker over the store that all of this factory's brokers share, opened with `listener`. */
  open(listener: BrokerListener): Promise<Broker>;
}

/** The tops of channels that are all in order. */
export async function positions(broker: Broker, channels: string[]): Promise<Position[]> {
  const tops = await broker.tops(channels);
  return tops.map((top) => {
    if (top instanceof Error) throw top;
    return top;
  });
}

export const options = (more: Partial<PublishOptions> = {}): PublishOptions => ({
  retention: { maxMessages: 1000, maxAge: 3_600_000 },
  ...more,
});

export const text = (value: string): Buffer => Buffer.from(value);
export const nextChannel = ((): ((kind?: string) => string) => {
  let count = 0;
  return (kind = 'user') => `${kind}:test-${++count}`;
})();

/** Declares tests of two instances over one store. */
export function promises(
  name: string,
  factory: () => BrokerFactory,
  skip: string | false,
): (title: string, run: (a: Broker, b: Broker, ra: Recorder, rb: Recorder) => Promise<void>) => void {
  return (title, run) => {
    test(`${name}: ${title}`, { skip, timeout: 120_000 }, async () => {
      const ra = new Recorder();
      const rb = new Recorder();
      const a = await factory().open(ra);
      const b = await factory().open(rb);
      try {
        await run(a, b, ra, rb);
      } finally {
        await Promise.all([a.close(), b.close()]);
      }
    });
  };
}

export function brokerSuite(name: string, factory: () => BrokerFactory, skip: string | false = false): void {
  const promise = promises(name, factory, skip);

  promise('offsets count from 1 in one epoch, each with an id of its own', async (a, b) => {
    const channel = nextChannel();
    const receipts = [];
    for (let i = 1; i <= 5; i++) {
      const via = i % 2 ? a : b;
      receipts.push(await via.publish(channel, 'text', text(`m${i}`), options()));
    }
    assert.deepEqual(
      receipts.map((r) => r.offset),
      [1, 2, 3, 4, 5],
    );
    assert.equal(new Set(receipts.map((r) => r.epoch)).size, 1);
    assert.equal(new Set(receipts.map((r) => r.id)).size, 5);
    assert.ok(receipts[0]!.epoch.length >= 8 && receipts[0]!.id.length >= 12);
    assert.ok(receipts.every((r) => r.channel === channel && r.duplicate === false));
  });

  promise(
    'a subscriber on another instance gets each message once, in order, byte for byte',
    async (a, b, ra, rb) => {
      const channel = nextChannel();
      await b.subscribe(channel);
      await b.subscribe(channel);
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      const sent = [
        ['text', text('grüße 你好 🎉')],
        ['json', text('{"a":[1,2]}')],
        ['binary', bytes],
        ['reference', text('mail-17')],
        ['text', Buffer.alloc(0)],
        ['text', text('*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n')],
      ] as const;
      const before = Date.now();
      for (const [kind, payload] of sent) await a.publish(channel, kind, payload, options());
      await until('all messages', () => rb.messages.length === sent.length);
      for (const [i, [kind, payload]] of sent.entries()) {
        const message = rb.messages[i]!;
        assert.equal(message.channel, channel);
        assert.equal(message.offset, i + 1);
        assert.equal(message.kind, kind);
        assert.deepEqual(message.payload, payload);
        assert.ok(Math.abs(message.time - before) < 60_000);
      }
      assert.equal(ra.messages.length, 0);
      const page = await a.read(channel, 0, 100);
      assert.deepEqual(page.messages, rb.messages);
    },
  );

  promise(
    'a trace is kept with its message, and with no other; what is gone has none',
    async (a, b, _ra, rb) => {
      const channel = nextChannel();
      await b.subscribe(channel);
      const short = 'A'.repeat(32);
      const long = `${'-'.repeat(32)};a=${'~'.repeat(260)}`;
      const settings: Partial<PublishOptions>[] = [
        {},
        { trace: short },
        { trace: long, idempotencyKey: 'k' },
        { trace: short, ttl: 60_000 },
        { trace: long, replaces: 'key', ttl: 60_000 },
        {},
        { trace: short, ttl: Number.POSITIVE_INFINITY },
      ];
      await Promise.all(settings.map((more) => a.publish(channel, 'binary', text(' t=x\n'), options(more))));
      const traces = settings.map(({ trace }) => trace);
      await until('all messages', () => rb.messages.length === settings.length);
      assert.deepEqual(
        rb.messages.map(({ trace }) => trace),
        traces,
      );
      const { messages } = await b.read(channel, 0, 100);
      assert.deepEqual(messages, rb.messages);
      for (const { payload } of messages) assert.equal(payload.toString(), ' t=x\n');
      for (const message of messages) assert.equal('trace' in message, message.trace !== undefined);
      for (const trace of ['', 'a b', 'a\n', 'x'.repeat(301), '\u00e9'])
        await assert.rejects(a.publish(channel, 'text', text(''), options({ trace })), RangeError);
      await a.remove(channel, { key: 'key' });
      await a.remove(channel, { position: messages[1]! });
      const left = (await b.read(channel, 0, 100)).messages;
      assert.deepEqual(
        left.map(({ kind, trace }) => (kind === 'gone' ? 'gone' : trace)),
        traces.map((trace, i) => (i === 1 || i === 4 ? 'gone' : trace)),
      );
      assert.ok(left.every(({ kind, trace }) => kind !== 'gone' || trace === undefined));
    },
  );

  promise('what is told live and what the log says are the same', async (a, b, _ra, rb) => {
    const channel = nextChannel();
    await b.subscribe(channel);
    const receipt = await a.publish(channel, 'json', text('1'), options());
    await until('the message', () => rb.messages.length === 1);
    const { duplicate: _, ...position } = receipt;
    const { time, kind, payload, ...told } = rb.messages[0]!;
    assert.deepEqual(told, position);
    assert.deepEqual(await entryOf(b, channel, 1), { ...told, time, kind, payload });
    assert.equal(await entryOf(b, channel, 2), undefined);
  });

  promise(
    'many messages published at once arrive contiguous and in the order of their offsets',
    async (a, b, _ra, rb) => {
      const channel = nextChannel();
      await b.subscribe(channel);
      const all = [];
      for (let i = 0; i < 500; i++)
        all.push((i % 2 ? a : b).publish(channel, 'text', text(`m${i}`), options()));
      await Promise.all(all);
      await until('500 messages', () => rb.messages.length === 500);
      assert.ok(rb.messages.every((m, i) => m.offset === i + 1));
    },
  );

  promise('after unsubscribe nothing is told', async (a, b, _ra, rb) => {
    const [quiet, control] = [nextChannel(), nextChannel()];
    await b.subscribe(quiet);
    await b.subscribe(control);
    await b.unsubscribe(quiet);
    await a.publish(quiet, 'text', text('no'), options());
    await a.publish(control, 'text', text('yes'), options());
    await until('the control message', () => rb.messages.length > 0);
    assert.deepEqual(
      rb.messages.map((m) => m.channel),
      [control],
    );
  });

  promise('subscribe, unsubscribe, subscribe without waiting ends subscribed', async (a, b, _ra, rb) => {
    const channel = nextChannel();
    const steps = [b.subscribe(channel), b.unsubscribe(channel), b.subscribe(channel)];
    await Promise.all(steps);
    await a.publish(channel, 'text', text('x'), options());
    await until('the message', () => rb.messages.length === 1);
  });

  promise('notify reaches who is subscribed and leaves the log alone', async (a, b, _ra, rb) => {
    const channel = nextChannel('topic');
    await b.subscribe(channel);
    await a.notify(channel, text('typing…'));
    await until('the notice', () => rb.transients.length === 1);
    assert.deepEqual(rb.transients, [[channel, 'typing…']]);
    assert.equal((await a.read(channel, 0, 10)).top.offset, 0);
  });

  promise('read pages through the log after an offset, up to its limit', async (a) => {
    const channel = nextChannel();
    for (let i = 1; i <= 10; i++) await a.publish(channel, 'text', text(`m${i}`), options());
    const page = await a.read(channel, 3, 4);
    assert.deepEqual(
      page.messages.map((m) => m.offset),
      [4, 5, 6, 7],
    );
    assert.equal(page.top.offset, 10);
    assert.equal(page.first, 1);
    assert.deepEqual((await a.read(channel, 10, 4)).messages, []);
    assert.deepEqual((await a.read(channel, 99, 4)).messages, []);
    const { channel: _c, time: _t, kind: _k, payload: _p, ...last } = (await entryOf(a, channel, 10))!;
    assert.deepEqual(page.top, last);
  });

  promise('a page holds about 1 MiB of payload, and one message of any size', async (a) => {
    const channel = nextChannel();
    for (let i = 0; i < 6; i++) await a.publish(channel, 'binary', Buffer.alloc(400_000, i), options());
    const page = await a.read(channel, 0, 100);
    assert.ok(page.messages.length >= 2 && page.messages.length <= 4, `${page.messages.length} messages`);
    const rest = await a.read(channel, page.messages.at(-1)!.offset, 100);
    assert.equal(rest.messages[0]!.offset, page.messages.length + 1);
    const large = nextChannel();
    await a.publish(large, 'binary', Buffer.alloc(3_000_000, 7), options());
    assert.equal((await a.read(large, 0, 100)).messages[0]!.payload.length, 3_000_000);
  });

  promise(
    'a channel never used has a top at offset 0, from which its first message follows',
    async (a, b) => {
      const channel = nextChannel();
      const page = await a.read(channel, 0, 10);
      assert.deepEqual(page.messages, []);
      assert.equal(page.first, 1);
      assert.equal(page.top.offset, 0);
      assert.equal(page.top.id, '');
      assert.notEqual(page.top.epoch, '');
      const receipt = await b.publish(channel, 'text', text('first'), options());
      assert.ok(leadsTo(page.top.epoch, receipt.epoch));
      assert.equal((await positions(a, [nextChannel()]))[0]!.epoch, '');
    },
  );

  promise('retention by count keeps the newest', async (a) => {
    const channel = nextChannel();
    const retention = { maxMessages: 3, maxAge: 3_600_000 };
    for (let i = 1; i <= 300; i++) await a.publish(channel, 'text', text(`m${i}`), options({ retention }));
    const page = await a.read(channel, 0, 1000);
    assert.deepEqual(
      page.messages.map((m) => m.payload.toString()),
      ['m298', 'm299', 'm300'],
    );
    assert.equal(page.first, 298);
    assert.equal(await entryOf(a, channel, 297), undefined);
    assert.equal((await entryOf(a, channel, 298))?.payload.toString(), 'm298');
  });

  promise('retention by age forgets the old, and the position goes on', async (a) => {
    const channel = nextChannel();
    const retention = { maxMessages: 1000, maxAge: 300 };
    const first = await a.publish(channel, 'text', text('old'), options({ retention }));
    await until('the message to age out', async () => (await a.read(channel, 0, 10)).messages.length === 0);
    const page = await a.read(channel, 0, 10);
    assert.equal(page.first, 2);
    assert.equal(page.top.id, first.id);
    const second = await a.publish(channel, 'text', text('new'), options({ retention }));
    assert.equal(second.offset, 2);
    assert.equal(second.epoch, first.epoch);
    // It ages as well while it is looked for.
    const kept = await until('a new one to be read in time', async () => {
      await a.publish(channel, 'text', text('new'), options({ retention }));
      const { messages } = await a.read(channel, 0, 10);
      return messages.length > 0 && messages;
    });
    assert.ok(kept.every((m) => m.payload.toString() === 'new'));
  });

  promise('retention by age also trims a channel that stays busy', async (a) => {
    const channel = nextChannel();
    const retention = { maxMessages: 1000, maxAge: 400 };
    await a.publish(channel, 'text', text('old'), options({ retention }));
    await until('the head to be trimmed', async () => {
      await a.publish(channel, 'text', text('tick'), options({ retention }));
      return (await a.read(channel, 0, 1)).first > 1;
    });
  });

  promise('the same idempotency key returns the first receipt and stores nothing', async (a, b, ra) => {
    const [channel, other] = [nextChannel(), nextChannel()];
    await a.subscribe(channel);
    const key = options({ idempotencyKey: 'mail-42' });
    const first = await a.publish(channel, 'text', text('once'), key);
    await a.publish(channel, 'text', text('between'), options());
    const again = await b.publish(channel, 'text', text('once'), key);
    assert.deepEqual(again, { ...first, duplicate: true });
    assert.equal((await b.publish(other, 'text', text('x'), key)).duplicate, false);
    await b.publish(channel, 'text', text('last'), options());
    await until('the last message', () => ra.messages.some((m) => m.payload.toString() === 'last'));
    assert.deepEqual(
      ra.messages.map((m) => m.payload.toString()),
      ['once', 'between', 'last'],
    );
  });

  promise('an idempotency key is forgotten after its window', async (a) => {
    const channel = nextChannel();
    const key = options({ idempotencyKey: 'k', idempotencyWindow: 150 });
    await a.publish(channel, 'text', text('x'), key);
    await until(
      'the key to be forgotten',
      async () => !(await a.publish(channel, 'text', text('x'), key)).duplicate,
    );
  });

  promise('twenty publishers with one idempotency key at once store one message', async (a, b) => {
    const channel = nextChannel();
    const key = options({ idempotencyKey: 'race' });
    const receipts = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).publish(channel, 'text', text('x'), key)),
    );
    assert.equal(receipts.filter((r) => !r.duplicate).length, 1);
    assert.equal(new Set(receipts.map((r) => r.id)).size, 1);
  });

  promise('tops tells the newest positions of many channels, in the order asked', async (a) => {
    const [one, none, two] = [nextChannel(), nextChannel(), nextChannel()];
    const first = await a.publish(one, 'text', text('x'), options());
    await a.publish(two, 'text', text('x'), options());
    const last = await a.publish(two, 'text', text('y'), options());
    const tops = await positions(a, [one, none, two]);
    assert.deepEqual(tops[0], { epoch: first.epoch, offset: 1, id: first.id });
    assert.equal(tops[1]!.offset, 0);
    assert.deepEqual(tops[2], { epoch: last.epoch, offset: 2, id: last.id });
    assert.deepEqual(await a.tops([]), []);
  });

  promise(
    'an opening tells what read and cursors tell, of a hundred channels at once and of every kind',
    async (a, b) => {
      const channels = Array.from({ length: 120 }, () => nextChannel());
      const used = channels.filter((_, i) => i % 3 > 0);
      await Promise.all(used.map((channel) => a.publish(channel, 'text', text('x'), options())));
      for (const [i, channel] of used.entries()) {
        if (i % 2 > 0) continue;
        const { messages } = await a.read(channel, 0, 1);
        const { epoch, offset, id } = messages[0]!;
        for (const device of ['phone', 'Gerät'])
          await a.acknowledge({ channel, device, position: { epoch, offset, id } }, 60_000);
      }
      for (const broker of [a, b]) {
        const openings = await Promise.all(channels.map((channel) => broker.opening(channel)));
        for (const [i, channel] of channels.entries()) {
          const opening = openings[i]!;
          const { top } = await broker.read(channel, 0, 0);
          const unused = (position: Position): string => position.epoch.slice(0, 5);
          if (top.offset > 0) assert.deepEqual(opening.top, top);
          else assert.deepEqual([opening.top.offset, unused(opening.top)], [0, unused(top)]);
          const byDevice = (cursors: Cursor[]): Cursor[] =>
            cursors.sort((x, y) => x.device.localeCompare(y.device));
          assert.deepEqual(byDevice(opening.cursors!), byDevice(await broker.cursors(channel)));
        }
      }
      // Looking has not begun any of them.
      assert.equal((await positions(a, [channels[0]!]))[0]!.epoch, '');
    },
  );

  promise('who found a channel unused by an opening can tell later that nothing was missed', async (a, b) => {
    const channel = nextChannel();
    const { top } = await b.opening(channel);
    const receipt = await a.publish(channel, 'text', text('x'), options());
    assert.ok(leadsTo(top.epoch, receipt.epoch));
  });

  promise('a cursor moves forward only, and subscribers are told when it moves', async (a, b, _ra, rb) => {
    const channel = nextChannel();
    await b.subscribe(channel);
    const at = [];
    for (let i = 0; i < 3; i++) {
      const { epoch, offset, id } = await a.publish(channel, 'text', text('x'), options());
      at.push({ epoch, offset, id });
    }
    await a.acknowledge({ channel, device: 'phone', position: at[1]! }, 60_000);
    await a.acknowledge({ channel, device: 'phone', position: at[0]! }, 60_000);
    await a.acknowledge({ channel, device: 'desk', position: at[2]! }, 60_000);
    const cursors = await b.cursors(channel);
    assert.deepEqual(
      cursors.sort((x, y) => x.device.localeCompare(y.device)),
      [
        { channel, device: 'desk', position: at[2] },
        { channel, device: 'phone', position: at[1] },
      ],
    );
    await until('both cursors', () => rb.cursors.length === 2);
    assert.deepEqual(rb.cursors, [
      { channel, device: 'phone', position: at[1] },
      { channel, device: 'desk', position: at[2] },
    ]);
  });

  promise('an acknowledgement of another epoch, or beyond the top, moves nothing', async (a) => {
    const channel = nextChannel();
    const { epoch, id } = await a.publish(channel, 'text', text('x'), options());
    await a.acknowledge({ channel, device: 'd', position: { epoch: 'other', offset: 1, id } }, 60_000);
    await a.acknowledge({ channel, device: 'd', position: { epoch, offset: 2, id } }, 60_000);
    assert.deepEqual(await a.cursors(channel), []);
  });

  promise('cursors expire', async (a) => {
    const channel = nextChannel();
    const { epoch, offset, id } = await a.publish(channel, 'text', text('x'), options());
    await a.acknowledge({ channel, device: 'd', position: { epoch, offset, id } }, 100);
    await until('the cursor to expire', async () => (await a.cursors(channel)).length === 0);
  });

  promise(
    'presence shows the sessions of all instances until withdrawn, or until the instance ends',
    async (a, b) => {
      const user = nextChannel('someone');
      const entry = (session: string, instance: string, device?: string): PresenceEntry => ({
        session,
        instance,
        user,
        ...(device === undefined ? {} : { device }),
        since: 1_700_000_000_000,
      });
      const [one, two] = [entry('s1', 'A', 'phone'), entry('s2', 'B')];
      await a.announce([one], 60_000);
      await b.announce([two, { ...two, session: 's3', user: nextChannel() }], 60_000);
      const sessions = async () =>
        (await a.presence(user)).sort((x, y) => x.session.localeCompare(y.session));
      assert.deepEqual(await sessions(), [one, two]);
      await b.withdraw([two]);
      assert.deepEqual(await sessions(), [one]);
      await b.announce([two], 60_000);
      await a.close();
      assert.deepEqual(await b.presence(user), [two], 'what a closed instance has not withdrawn is over');
    },
  );

  promise(
    'who is on a topic is counted by user over all instances, apart from the sessions of the users',
    async (a, b) => {
      const topic = nextChannel('a {topic}');
      const ann = nextChannel('ann');
      const on = (session: string, user: string, at = topic): PresenceEntry => ({
        session,
        instance: 'A',
        user,
        since: 1,
        topic: at,
      });
      const sorted = async (broker: Broker, limit: number, at = topic) => {
        const { users, total, sessions } = await broker.attendance(at, limit);
        return { users: users.sort((x, y) => x.user.localeCompare(y.user)), total, sessions };
      };
      assert.deepEqual(await sorted(a, 10), { users: [], total: 0, sessions: 0 });
      const other = nextChannel();
      await a.announce([on('s1', ann), on('s2', ann), on('s1', ann, other)], 60_000);
      await b.announce([on('s3', ann), on('s4', 'zoe')], 60_000);
      const all = {
        users: [
          { user: ann, sessions: 3 },
          { user: 'zoe', sessions: 1 },
        ],
        total: 2,
        sessions: 4,
      };
      for (const broker of [a, b]) assert.deepEqual(await sorted(broker, 10), all);
      assert.deepEqual((await sorted(a, 1)).users.length, 1);
      assert.deepEqual(await sorted(a, 0), { ...all, users: [] });
      assert.deepEqual(await sorted(b, 5, other), {
        users: [{ user: ann, sessions: 1 }],
        total: 1,
        sessions: 1,
      });
      assert.deepEqual(await b.presence(ann), [], 'a subscription is no session');

      await a.withdraw([on('s1', ann)]);
      assert.equal((await b.attendance(topic, 0)).sessions, 3);
      assert.equal((await b.attendance(other, 0)).sessions, 1, 'on another topic it stays');
      await b.announce(
        Array.from({ length: 2500 }, (_, i) => on(`many${i}`, `u${i % 1250}`)),
        60_000,
      );
      const many = await a.attendance(topic, 7);
      assert.deepEqual([many.users.length, many.total, many.sessions], [7, 1252, 2503]);
      await b.close();
      // An instance that was just heard of is taken to be there for a second.
      await until('them to be over', async () => (await a.attendance(topic, 0)).sessions === 1);
      assert.deepEqual((await sorted(a, 10)).users, [{ user: ann, sessions: 1 }]);
    },
  );

  promise('of many users it tells which have a session on any instance', async (a, b) => {
    const users = Array.from({ length: 1500 }, (_, i) => `${nextChannel('user')}-${i}`);
    const here = users.filter((_, i) => i % 3 === 0);
    const entries = here.map(
      (user): PresenceEntry => ({ session: `of ${user}`, instance: 'A', user, since: 1 }),
    );
    await a.announce(entries.slice(0, 200), 60_000);
    await b.announce(entries.slice(200), 60_000);
    for (const broker of [a, b]) {
      assert.deepEqual([...(await broker.online(users))].sort(), [...here].sort());
      assert.deepEqual(await broker.online([]), new Set());
    }
    await b.withdraw(entries.slice(200, 201));
    await a.close();
    await until('them to be over', async () => (await b.online(users)).size === 299);
    assert.deepEqual([...(await b.online(users))].sort(), here.slice(201).sort());
  });

  promise('channel names of any characters stay apart', async (a, b, _ra, rb) => {
    const base = nextChannel();
    const names = ['', '{', '}', '{a}', 'a}b{', '%7B', '{}', ' ', 'ü你🎉', '*', '?[x]', '\r\n', ':log'].map(
      (odd) => base + odd,
    );
    for (const channel of names) await b.subscribe(channel);
    for (const channel of names) await a.publish(channel, 'text', text(channel), options());
    await until('all of them', () => rb.messages.length === names.length);
    for (const message of rb.messages) assert.equal(message.payload.toString(), message.channel);
    assert.ok(rb.messages.every((m) => m.offset === 1));
  });
}

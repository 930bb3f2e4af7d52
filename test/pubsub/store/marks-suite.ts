/**
 * The promises of pubsub/broker.ts about what becomes of messages: marks, removals, replacements, expiry. To be run against
 * every broker there is.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type {
  Broker,
  Position,
  PublishOptions,
  Receipt,
  StoredMessage,
} from '../../../src/pubsub/store/broker.ts';
import { type Counts, countsOf, type MarkAs, type Marked } from '../../../src/pubsub/store/marks.ts';
import { until } from '../../support/net.ts';
import {
  type BrokerFactory,
  nextChannel,
  options,
  positions,
  promises,
  Recorder,
  text,
} from './broker-suite.ts';
import { stateOf } from './inbox-model.ts';

export const at = ({ epoch, offset, id }: Position): Position => ({ epoch, offset, id });

/** The state of each message that is kept, oldest first: `'read, archived'`. */
export function states({ marks, first, top }: Marked): string[] {
  return Array.from({ length: top.offset - first + 1 }, (_, i) => stateOf(marks, first + i));
}

export function counts({ marks, first, top }: Marked): Counts {
  return countsOf(marks, first, top.offset);
}

async function fill(broker: Broker, channel: string, count: number, more?: Partial<PublishOptions>) {
  const receipts: Receipt[] = [];
  for (let i = 1; i <= count; i++) {
    receipts.push(await broker.publish(channel, 'text', text(`m${i}`), options(more)));
  }
  return receipts.map(at);
}

/** All that is kept, as `offset kind payload`. */
async function log(broker: Broker, channel: string): Promise<string[]> {
  const { messages } = await broker.read(channel, 0, 1000);
  return messages.map(shown);
}
const shown = ({ offset, kind, payload }: StoredMessage): string => `${offset} ${kind} ${payload}`;

export function marksSuite(name: string, factory: () => BrokerFactory, skip: string | false = false): void {
  const promise = promises(name, factory, skip);

  promise(
    'a channel never used has no marks, and gets none by looking, marking or removing',
    async (a, b) => {
      const channel = nextChannel();
      const check = (marked: Marked): void => {
        const { next, ...marks } = marked.marks;
        const version = { epoch: '', offset: 0, id: '' };
        assert.deepEqual(marks, { version, seen: [], read: [], archived: [], gone: [] });
        assert.deepEqual([next, marked.first, marked.top.offset], [undefined, 1, 0]);
        assert.ok(marked.most >= 2 ** 31, 'nobody has said how many it keeps');
        assert.deepEqual(counts(marked), { unseen: 0, unread: 0, all: 0 });
      };
      check(await a.marks(channel));
      const { changed, ...marked } = await a.mark(channel, { as: 'read' });
      assert.equal(changed, 0);
      check(marked);
      check(await b.mark(channel, { as: 'deleted', upTo: marked.top }));
      check(await b.mark(channel, { as: 'seen', messages: [marked.top] }));
      assert.equal(await b.remove(channel, { position: marked.top }), false);
      assert.equal(await b.remove(channel, { key: 'k' }), false);
      assert.equal((await positions(a, [channel]))[0]!.epoch, '');
    },
  );

  promise('messages are unseen until they are marked, whatever else was stored before', async (a, b) => {
    const channel = nextChannel();
    await fill(a, channel, 3);
    const marked = await b.marks(channel);
    assert.deepEqual(states(marked), ['unseen', 'unseen', 'unseen']);
    assert.deepEqual(counts(marked), { unseen: 3, unread: 3, all: 3 });
    assert.equal(marked.marks.version.offset, 0);
    assert.equal(marked.most, 1000);
    assert.deepEqual(marked.top, (await positions(a, [channel]))[0]);
  });

  const after: [MarkAs[], string, Counts][] = [
    [['seen'], 'seen', { unseen: 0, unread: 1, all: 1 }],
    [['read'], 'read', { unseen: 0, unread: 0, all: 1 }],
    [['read', 'unread'], 'seen', { unseen: 0, unread: 1, all: 1 }],
    [['archived'], 'unseen, archived', { unseen: 0, unread: 0, all: 0 }],
    [['read', 'archived'], 'read, archived', { unseen: 0, unread: 0, all: 0 }],
    [['read', 'archived', 'unread'], 'seen, archived', { unseen: 0, unread: 0, all: 0 }],
    [['archived', 'unarchived'], 'unseen', { unseen: 1, unread: 1, all: 1 }],
    [['read', 'archived', 'unarchived'], 'read', { unseen: 0, unread: 0, all: 1 }],
    [['deleted'], 'gone', { unseen: 0, unread: 0, all: 0 }],
    [['archived', 'deleted'], 'gone', { unseen: 0, unread: 0, all: 0 }],
  ];
  for (const [marks, state, count] of after) {
    promise(`a message marked ${marks.join(', then ')} is ${state}`, async (a, b) => {
      const channel = nextChannel();
      const [only] = await fill(a, channel, 1);
      const versions: number[] = [];
      for (const [i, as] of marks.entries()) {
        const { changed, ...marked } = await (i % 2 ? b : a).mark(channel, { as, messages: [only!] });
        assert.equal(changed, 1, as);
        versions.push(marked.marks.version.offset);
        // A second time changes nothing, by whomever.
        for (const broker of [a, b]) {
          const again = await broker.mark(channel, { as, messages: [only!] });
          assert.equal(again.changed, 0, `${as} again`);
          assert.deepEqual(again.marks.version, marked.marks.version);
        }
      }
      assert.deepEqual(
        versions,
        versions.map((_, i) => i + 1),
        'each change is counted',
      );
      for (const broker of [a, b]) {
        const marked = await broker.marks(channel);
        assert.deepEqual([states(marked), counts(marked)], [[state], count]);
      }
    });
  }

  promise('what takes back changes nothing where there is nothing to take back', async (a, _b, ra) => {
    const channel = nextChannel();
    await a.subscribe(channel);
    await fill(a, channel, 3);
    for (const as of ['unread', 'unarchived'] as const) {
      const { changed, ...marked } = await a.mark(channel, { as });
      assert.deepEqual([changed, marked.marks.version.offset], [0, 0]);
    }
    await a.publish(channel, 'text', text('last'), options());
    await until('the last one', () => ra.messages.length === 4);
    assert.deepEqual(ra.marks, []);
  });

  promise(
    'one, several, all up to one, and all are marked, and counted as far as they change',
    async (a, b) => {
      const channel = nextChannel();
      const sent = await fill(a, channel, 8);
      const mark = async (...[, mark]: Parameters<Broker['mark']>) => {
        const { changed, ...marked } = await b.mark(channel, mark);
        return [changed, ...states(marked).map((state) => state[0])].join(' ');
      };
      assert.equal(await mark('', { as: 'read', messages: [sent[6]!] }), '1 u u u u u u r u');
      // In any order, one of them twice.
      const several = [sent[4]!, sent[1]!, sent[4]!, sent[6]!];
      assert.equal(await mark('', { as: 'read', messages: several }), '2 u r u u r u r u');
      assert.equal(await mark('', { as: 'seen', upTo: sent[3]! }), '3 s r s s r u r u');
      assert.equal(await mark('', { as: 'unread', messages: [sent[1]!] }), '1 s s s s r u r u');
      assert.equal(await mark('', { as: 'read', upTo: sent[7]! }), '6 r r r r r r r r');
      await fill(a, channel, 2);
      assert.equal(await mark('', { as: 'seen' }), '2 r r r r r r r r s s');
      assert.equal(await mark('', { as: 'unread' }), '8 s s s s s s s s s s');
      assert.equal(await mark('', { as: 'deleted', upTo: sent[1]! }), '2 g g s s s s s s s s');
      assert.equal(await mark('', { as: 'read' }), '8 g g r r r r r r r r');
      assert.equal(await mark('', { as: 'archived', messages: [] }), '0 g g r r r r r r r r');
      assert.equal(await mark('', { as: 'deleted' }), '8 g g g g g g g g g g');
      assert.equal(await mark('', { as: 'unread' }), '0 g g g g g g g g g g');
    },
  );

  promise('a mark that is none is refused, and changes nothing', async (a) => {
    const channel = nextChannel();
    const [one] = await fill(a, channel, 1);
    const many = Array.from({ length: 1001 }, () => one!);
    await assert.rejects(a.mark(channel, { as: 'read', messages: many }), RangeError);
    await assert.rejects(a.mark(channel, { as: 'read', messages: [], upTo: one! }), TypeError);
    for (const as of ['', 'gone', 'constructor', '__proto__', undefined]) {
      await assert.rejects(a.mark(channel, { as: as as MarkAs }), TypeError, String(as));
    }
    assert.equal((await a.marks(channel)).marks.version.offset, 0);
    assert.equal((await a.mark(channel, { as: 'read', messages: many.slice(1) })).changed, 1);
  });

  promise('a position that is none of the channel’s marks and removes nothing', async (a, b, ra) => {
    const [channel, other] = [nextChannel(), nextChannel()];
    await a.subscribe(channel);
    const retention = { maxMessages: 3, maxAge: 3_600_000 };
    const sent = await fill(a, channel, 5, { retention });
    const [elsewhere] = await fill(a, other, 3, { retention });
    const { epoch, offset, id } = sent[3]!;
    const bad: Record<string, Position> = {
      'of another epoch': { epoch: `${epoch.slice(0, -1)}x`, offset, id },
      'of no epoch': { epoch: '', offset, id },
      'of another id': { epoch, offset, id: sent[2]!.id },
      'of no id': { epoch, offset, id: '' },
      'beyond the top': { epoch, offset: 6, id },
      'far beyond the top': { epoch, offset: 2 ** 40, id },
      'not kept any more': sent[0]!,
      'at 0': { epoch, offset: 0, id: '' },
      'below 0': { epoch, offset: -1, id },
      'no whole number': { epoch, offset: 3.5, id },
      'no number': { epoch, offset: Number.NaN, id },
      'of another channel': elsewhere!,
    };
    for (const [what, position] of Object.entries(bad)) {
      for (const as of ['read', 'deleted', 'archived'] as const) {
        for (const mark of [{ messages: [position] }, { upTo: position }]) {
          assert.equal((await b.mark(channel, { as, ...mark })).changed, 0, what);
        }
      }
      assert.equal(await b.remove(channel, { position }), false, what);
    }
    // Beside good ones, they do no harm.
    const messages = [...Object.values(bad), sent[4]!];
    const { changed, ...marked } = await b.mark(channel, { as: 'read', messages });
    assert.deepEqual([changed, ...states(marked)], [1, 'unseen', 'unseen', 'read']);
    await until('the bell', () => ra.marks.length === 1);
    assert.equal(ra.marks[0]![1].marks.version.offset, 1);
  });

  promise('retention by number takes messages out of all counts', async (a, b) => {
    const channel = nextChannel();
    const retention = { maxMessages: 4, maxAge: 3_600_000 };
    await fill(a, channel, 4, { retention });
    const { changed, ...read } = await b.mark(channel, { as: 'read' });
    assert.deepEqual([changed, counts(read)], [4, { unseen: 0, unread: 0, all: 4 }]);
    for (const left of [3, 2, 1, 0, 0]) {
      await fill(a, channel, 1, { retention });
      const marked = await b.marks(channel);
      assert.deepEqual(counts(marked), { unseen: 4 - left, unread: 4 - left, all: 4 });
      assert.equal(marked.first, marked.top.offset - 3);
      assert.equal(marked.marks.version.offset, 1, 'that is no change of the marks');
    }
    await fill(a, channel, 40, { retention });
    const again = await b.mark(channel, { as: 'seen' });
    assert.deepEqual([again.changed, counts(again)], [4, { unseen: 0, unread: 4, all: 4 }]);
    const { seen, read: ranges } = again.marks;
    assert.ok(seen.length + ranges.length <= 2, 'what is not kept takes no room for long');
  });

  promise('retention by age takes messages out of all counts', async (a, b) => {
    const channel = nextChannel();
    const retention = { maxMessages: 1000, maxAge: 400 };
    const [old] = await fill(a, channel, 1, { retention });
    await b.mark(channel, { as: 'seen' });
    const next = (await b.marks(channel)).marks.next;
    assert.ok(next !== undefined && next > Date.now() - 10_000 && next < Date.now() + 10_000);
    await until('it to be too old', async () => counts(await b.marks(channel)).all === 0);
    assert.ok(Date.now() > next - 50, 'not before it was said to be');
    const marked = await b.marks(channel);
    assert.deepEqual([marked.first, marked.marks.next], [2, undefined]);
    assert.equal((await a.mark(channel, { as: 'read', messages: [old!] })).changed, 0);
    assert.equal((await a.mark(channel, { as: 'read', upTo: old! })).changed, 0);
    assert.equal((await a.mark(channel, { as: 'deleted' })).changed, 0);
    assert.equal(await a.remove(channel, { position: old! }), false);
    await fill(a, channel, 1);
    assert.deepEqual(counts(await b.marks(channel)), { unseen: 1, unread: 1, all: 1 });
  });

  promise('what is deleted or withdrawn keeps its place, and nothing else', async (a, b) => {
    const channel = nextChannel();
    const sent = await fill(a, channel, 5);
    await a.publish(channel, 'json', text('{"a":1}'), options({ ttl: 60_000 }));
    const before = (await a.read(channel, 0, 100)).messages;
    await b.mark(channel, { as: 'deleted', messages: [sent[1]!] });
    assert.equal(await b.remove(channel, { position: sent[3]! }), true);
    assert.equal(await b.remove(channel, { position: at(before[5]!) }), true);
    assert.deepEqual(await log(a, channel), [
      '1 text m1',
      '2 gone ',
      '3 text m3',
      '4 gone ',
      '5 text m5',
      '6 gone ',
    ]);
    const { messages, top, first } = await a.read(channel, 0, 100);
    assert.deepEqual([top, first], [at(before[5]!), 1]);
    for (const [i, message] of messages.entries()) {
      const { kind, payload, expires, ...rest } = message;
      const { kind: _k, payload: _p, expires: _e, ...was } = before[i]!;
      assert.deepEqual(rest, was);
      assert.equal(expires, undefined, 'what is gone does not expire');
      assert.equal(kind === 'gone', payload.length === 0);
    }
    // What the listener was given before is his.
    assert.equal(before[1]!.payload.toString(), 'm2');
    for (const position of [sent[1]!, sent[3]!]) {
      assert.equal(await a.remove(channel, { position }), false);
      for (const as of ['seen', 'read', 'archived', 'deleted'] as const) {
        assert.equal((await a.mark(channel, { as, messages: [position] })).changed, 0, as);
      }
    }
    // A page that stands at one goes on, and marks up to it.
    assert.deepEqual((await a.read(channel, 4, 1)).messages[0]!.offset, 5);
    assert.equal((await a.mark(channel, { as: 'read', upTo: sent[3]! })).changed, 2);
  });

  promise('a withdrawn message is withdrawn once, of a hundred who try', async (a, b, ra) => {
    const channel = nextChannel();
    await a.subscribe(channel);
    const [only] = await fill(a, channel, 1);
    const done = await Promise.all(
      Array.from({ length: 100 }, (_, i) => (i % 2 ? a : b).remove(channel, { position: only! })),
    );
    assert.equal(done.filter(Boolean).length, 1);
    const marked = await a.marks(channel);
    assert.deepEqual([states(marked), marked.marks.version.offset], [['gone'], 1]);
    await until('the bell', () => ra.marks.length === 1);
  });

  promise(
    'a message that replaces another is unread again, and the other one is gone',
    async (a, b, _ra, rb) => {
      const channel = nextChannel();
      await b.subscribe(channel);
      const key = { replaces: 'order-17' };
      const [old] = await fill(a, channel, 1, key);
      const [between] = await fill(a, channel, 1);
      await b.mark(channel, { as: 'read' });
      const [young] = await fill(a, channel, 1, key);
      assert.deepEqual(await log(a, channel), ['1 gone ', '2 text m1', '3 text m1']);
      const marked = await b.marks(channel);
      assert.deepEqual(states(marked), ['gone', 'read', 'unseen']);
      assert.deepEqual(counts(marked), { unseen: 1, unread: 1, all: 2 });
      await until('all that was told', () => rb.order.length === 5);
      assert.deepEqual(rb.order, ['message 1', 'message 2', 'marks 1', 'message 3', 'marks 2']);
      assert.deepEqual(rb.marks.at(-1)![1].marks.gone, [[old!.offset, old!.offset]]);
      assert.deepEqual(rb.marks.at(-1)![1].top, young);
      // Only the newest has the key, and only as long as it is there.
      assert.equal(await a.remove(channel, { key: 'order-17' }), true);
      assert.equal(await b.remove(channel, { key: 'order-17' }), false);
      assert.deepEqual(states(await a.marks(channel)), ['gone', 'read', 'gone']);
      await fill(a, channel, 1, key);
      assert.deepEqual(states(await a.marks(channel)), ['gone', 'read', 'gone', 'unseen']);
      assert.equal((await a.mark(channel, { as: 'deleted', messages: [between!] })).changed, 1);
    },
  );

  promise('a key is of one channel, and each key is by itself, whatever it is called', async (a, b) => {
    const [channel, other] = [nextChannel(), nextChannel()];
    const odd = [
      '__proto__',
      'constructor',
      'toString',
      'length',
      ' ',
      '\0',
      '\r\n',
      '{}',
      'ü你🎉',
      'x'.repeat(256),
    ];
    const keys = [...odd, '1', '2', '01', 'a b', 'k:1', '-1', 'NaN'];
    for (const replaces of keys) {
      await a.publish(channel, 'text', text(replaces), options({ replaces }));
      await a.publish(other, 'text', text(replaces), options({ replaces }));
    }
    assert.deepEqual(counts(await a.marks(channel)).all, keys.length, 'none has replaced another');
    for (const replaces of keys) await b.publish(channel, 'text', text(replaces), options({ replaces }));
    const { messages } = await b.read(channel, 0, 100);
    assert.deepEqual(
      messages.map(({ payload }) => payload.toString()),
      [...keys.map(() => ''), ...keys],
    );
    for (const key of keys) assert.equal(await b.remove(channel, { key }), true, key);
    for (const key of keys) assert.equal(await a.remove(channel, { key }), false, key);
    assert.equal(counts(await a.marks(channel)).all, 0);
    assert.equal(counts(await a.marks(other)).all, keys.length, 'another channel has its own');
    for (const key of ['', 'nothing', 'x'.repeat(257)]) assert.equal(await b.remove(other, { key }), false);
  });

  promise('a key or a lifetime that can’t be is refused, and nothing is stored', async (a) => {
    const channel = nextChannel();
    const bad: Partial<PublishOptions>[] = [
      { replaces: '' },
      { replaces: 'x'.repeat(257) },
      { ttl: 0 },
      { ttl: -1 },
      { ttl: Number.NaN },
    ];
    for (const one of bad) {
      const published = a.publish(channel, 'text', text('x'), options(one));
      await assert.rejects(published, RangeError, JSON.stringify(one));
    }
    assert.equal((await positions(a, [channel]))[0]!.offset, 0);
  });

  promise(
    'messages of one turn replace each other in their order, on several channels',
    async (a, b, _ra, rb) => {
      const channels = [nextChannel(), nextChannel()];
      for (const channel of channels) await b.subscribe(channel);
      const sent = channels.flatMap((channel) =>
        Array.from({ length: 12 }, (_, i) => {
          const more = i % 3 === 2 ? {} : { replaces: i % 3 ? 'x' : 'y' };
          return a.publish(channel, 'text', text(`m${i + 1}`), options(more));
        }),
      );
      await Promise.all(sent);
      for (const channel of channels) {
        const kept = (await log(b, channel)).filter((entry) => !entry.includes('gone'));
        assert.deepEqual(kept, [
          '3 text m3',
          '6 text m6',
          '9 text m9',
          '10 text m10',
          '11 text m11',
          '12 text m12',
        ]);
        const { marks } = await b.marks(channel);
        assert.deepEqual(marks.gone, [
          [1, 2],
          [4, 5],
          [7, 8],
        ]);
        const last = (): Marked | undefined => rb.marks.filter((one) => one[0] === channel).at(-1)?.[1];
        await until('the last bell', () => last()?.marks.version.id === marks.version.id);
        assert.deepEqual(last()!.marks.gone, marks.gone);
      }
      await until('all messages', () => rb.messages.length === 24);
    },
  );

  promise('where an idempotency key is known, nothing is replaced', async (a, b) => {
    const channel = nextChannel();
    const once = options({ replaces: 'k', idempotencyKey: 'mail-1' });
    const first = await a.publish(channel, 'text', text('one'), once);
    await a.publish(channel, 'text', text('two'), options({ replaces: 'k' }));
    const marked = await b.marks(channel);
    const again = await b.publish(channel, 'text', text('one'), once);
    assert.deepEqual(again, { ...first, duplicate: true });
    assert.deepEqual(await log(a, channel), ['1 gone ', '2 text two']);
    assert.deepEqual((await a.marks(channel)).marks.version, marked.marks.version);
    // Twenty at once are one, and replace one.
    const key = options({ replaces: 'k', idempotencyKey: 'mail-2' });
    const all = Array.from({ length: 20 }, (_, i) =>
      (i % 2 ? a : b).publish(channel, 'text', text('three'), key),
    );
    assert.equal((await Promise.all(all)).filter(({ duplicate }) => !duplicate).length, 1);
    assert.deepEqual(await log(a, channel), ['1 gone ', '2 gone ', '3 text three']);
  });

  promise('a key whose message is not kept any more is free', async (a, b, ra) => {
    const channel = nextChannel();
    await a.subscribe(channel);
    const retention = { maxMessages: 2, maxAge: 3_600_000 };
    await fill(a, channel, 1, { retention, replaces: 'k' });
    await fill(a, channel, 2, { retention });
    assert.equal(await b.remove(channel, { key: 'k' }), false);
    await fill(a, channel, 1, { retention, replaces: 'k' });
    await fill(a, channel, 1, { retention });
    const marked = await b.marks(channel);
    assert.deepEqual([states(marked), marked.marks.version.offset], [['unseen', 'unseen'], 0]);
    await fill(a, channel, 1, { retention, replaces: 'k' });
    assert.deepEqual(await log(b, channel), ['5 text m1', '6 text m1']);
    assert.equal(await b.remove(channel, { key: 'k' }), true);
    assert.deepEqual(await log(b, channel), ['5 text m1', '6 gone ']);
    await until('all messages', () => ra.messages.length === 6);
  });

  promise(
    'a message with a ttl says when it expires, and is gone then for whoever looks',
    async (a, b, ra, rb) => {
      const channel = nextChannel();
      for (const broker of [a, b]) await broker.subscribe(channel);
      await fill(a, channel, 1);
      const [short] = await fill(a, channel, 1, { ttl: 300 });
      await fill(a, channel, 1, { ttl: 3_600_000 });
      const page = await b.read(channel, 0, 10);
      assert.deepEqual(
        page.messages.map(({ time, expires }) => expires && expires - time),
        [undefined, 300, 3_600_000],
      );
      await until('the messages', () => rb.messages.length === 3);
      assert.deepEqual(rb.messages, page.messages);
      const { next } = (await b.marks(channel)).marks;
      assert.ok(next !== undefined && next <= page.messages[1]!.expires!);
      await until('it to expire', async () => (await log(a, channel))[1] === '2 gone ');
      assert.ok(Date.now() >= page.messages[1]!.expires! - 50, 'not before');
      const all = await Promise.all(Array.from({ length: 50 }, (_, i) => (i % 2 ? a : b).marks(channel)));
      for (const marked of all) {
        assert.deepEqual(states(marked), ['unseen', 'gone', 'unseen']);
        assert.equal(marked.marks.version.offset, 1);
        assert.ok(marked.marks.next! > page.messages[1]!.expires!);
      }
      assert.equal((await b.mark(channel, { as: 'read', messages: [short!] })).changed, 0);
      assert.equal(await b.remove(channel, { position: short! }), false);
      await a.publish(channel, 'text', text('last'), options());
      await until('the last one', () => [ra, rb].every(({ messages }) => messages.length === 4));
      for (const { marks } of [ra, rb]) assert.equal(marks.length, 1, 'it is told once');
    },
  );

  promise(
    'a message that has expired is not marked, removed or replaced, though nobody has looked',
    async (a) => {
      const [marked, removed, replaced] = [nextChannel(), nextChannel(), nextChannel()];
      const more = { ttl: 50, replaces: 'k' };
      const sent = [];
      for (const channel of [marked, removed, replaced]) sent.push((await fill(a, channel, 1, more))[0]!);
      const other = nextChannel();
      await fill(a, other, 1, { ttl: 60 });
      await until('another one to expire', async () => (await log(a, other))[0] === '1 gone ');
      const { changed, ...after } = await a.mark(marked, { as: 'read' });
      assert.deepEqual([changed, states(after)], [0, ['gone']]);
      assert.equal(await a.remove(removed, { position: sent[1]! }), false);
      assert.equal(await a.remove(removed, { key: 'k' }), false);
      await fill(a, replaced, 1, { replaces: 'k' });
      assert.deepEqual(states(await a.marks(replaced)), ['gone', 'unseen']);
      assert.deepEqual(await log(a, replaced), ['1 gone ', '2 text m1']);
    },
  );

  promise('an opening tells what marks tell, or that they have to be asked for', async (a, b) => {
    const channels = Array.from({ length: 40 }, () => nextChannel());
    for (const [i, channel] of channels.entries()) {
      await fill(a, channel, i % 4);
      if (i % 4 > 1) await b.mark(channel, { as: i % 8 > 3 ? 'read' : 'archived' });
      if (i % 4 > 2) await a.publish(channel, 'text', text('x'), options({ ttl: 60_000 }));
    }
    const openings = await Promise.all(channels.map((channel) => b.opening(channel)));
    for (const [i, channel] of channels.entries()) {
      const { marked, top } = openings[i]!;
      if (marked === undefined) continue;
      const asked = await a.marks(channel);
      if (top.offset === 0) assert.equal(marked.top.offset, 0);
      else assert.deepEqual(marked, asked);
      assert.deepEqual(marked.top, top);
    }
  });

  promise('marks ring in order with messages, on every instance alike', async (a, b, ra, rb) => {
    const channel = nextChannel();
    for (const broker of [a, b]) await broker.subscribe(channel);
    const wanted: string[] = [];
    for (let i = 1; i <= 10; i++) {
      const [sent] = await fill(i % 2 ? a : b, channel, 1);
      await (i % 3 ? a : b).mark(channel, { as: i % 2 ? 'read' : 'archived', messages: [sent!] });
      wanted.push(`message ${i}`, `marks ${i}`);
    }
    for (const recorder of [ra, rb]) {
      await until('all', () => recorder.order.length === wanted.length);
      assert.deepEqual(recorder.order, wanted);
      assert.deepEqual(recorder.marks.at(-1), [channel, await a.marks(channel)]);
      assert.ok(recorder.marks.every((one) => one[0] === channel));
    }
    await b.unsubscribe(channel);
    await a.mark(channel, { as: 'seen' });
    await until('who is subscribed', () => ra.marks.length === 11);
    await b.subscribe(channel);
    await a.mark(channel, { as: 'deleted' });
    // What rang before may come late.
    const latest = [channel, await a.marks(channel)];
    await until('who is subscribed again', () => isDeepStrictEqual(rb.marks.at(-1), latest));
  });

  promise('marks and removals of one instance are made in the order of the calls', async (a, b) => {
    const channel = nextChannel();
    const sent = await fill(a, channel, 4);
    const messages = [sent[0]!];
    const calls = Array.from({ length: 51 }, (_, i) =>
      b.mark(channel, { as: i % 2 ? 'unread' : 'read', messages }),
    );
    const gone = b.remove(channel, { position: sent[1]! });
    const late = b.mark(channel, { as: 'read', messages: [sent[1]!] });
    assert.ok((await Promise.all(calls)).every(({ changed }) => changed === 1));
    assert.deepEqual([await gone, (await late).changed], [true, 0]);
    assert.deepEqual(states(await a.marks(channel)), ['read', 'gone', 'unseen', 'unseen']);
  });

  test(`${name}: a hundred marks at once from five instances are each made once`, {
    skip,
    timeout: 120_000,
  }, async () => {
    const recorders = Array.from({ length: 5 }, () => new Recorder());
    const brokers = await Promise.all(recorders.map((recorder) => factory().open(recorder)));
    try {
      const channel = nextChannel();
      for (const broker of brokers) await broker.subscribe(channel);
      const sent = await fill(brokers[0]!, channel, 100);
      const done = await Promise.all(
        sent.map((position, i) =>
          brokers[i % 5]!.mark(channel, { as: i % 4 ? 'read' : 'archived', messages: [position] }),
        ),
      );
      assert.ok(done.every(({ changed }) => changed === 1));
      const versions = done.map(({ marks }) => marks.version.offset).sort((x, y) => x - y);
      assert.deepEqual(
        versions,
        versions.map((_, i) => i + 1),
      );
      assert.equal(new Set(done.map(({ marks }) => marks.version.id)).size, 100);
      assert.equal(new Set(done.map(({ marks }) => marks.version.epoch)).size, 1);
      for (const [i, broker] of brokers.entries()) {
        const marked = await broker.marks(channel);
        assert.deepEqual(counts(marked), { unseen: 0, unread: 0, all: 75 });
        const told = recorders[i]!.marks;
        await until('all bells', () => told.length === 100);
        assert.deepEqual(told.at(-1)![1], marked, 'the last one told is what is so');
      }
      // A hundred at once who say the same change it once.
      const same = await Promise.all(
        Array.from({ length: 100 }, (_, i) => brokers[i % 5]!.mark(channel, { as: 'unread' })),
      );
      assert.deepEqual(
        same.map(({ changed }) => changed).filter((changed) => changed > 0),
        [75],
      );
    } finally {
      await Promise.all(brokers.map((broker) => broker.close()));
    }
  });

  promise(
    'all of many messages are deleted, and counted, whatever comes meanwhile stays',
    async (a, b, _ra, rb) => {
      const channel = nextChannel();
      await b.subscribe(channel);
      const retention = { maxMessages: 10_000, maxAge: 3_600_000 };
      const publish = (): Promise<Receipt> =>
        a.publish(channel, 'text', text('x'.repeat(100)), options({ retention }));
      await Promise.all(Array.from({ length: 3_500 }, publish));
      const [{ changed, ...marked }, late] = await Promise.all([
        b.mark(channel, { as: 'deleted' }),
        publish(),
      ]);
      assert.ok(changed === 3_500 || changed === 3_501, `${changed} deleted`);
      assert.deepEqual(marked.marks.gone, [[1, changed]]);
      const all = counts(await a.marks(channel)).all;
      assert.equal(all, late.offset > changed ? 1 : 0);
      await until('the last bell', () => rb.marks.at(-1)?.[1].marks.version.id === marked.marks.version.id);
      const { messages } = await a.read(channel, 3_000, 100);
      assert.ok(messages.every(({ kind, payload }) => kind === 'gone' && payload.length === 0));
    },
  );

  promise('a mark that would make too many ranges is refused, and changes nothing', async (a, b) => {
    const channel = nextChannel();
    const retention = { maxMessages: 10_000, maxAge: 3_600_000 };
    const sent = await Promise.all(
      Array.from({ length: 8_300 }, () => a.publish(channel, 'text', text('x'), options({ retention }))),
    );
    await b.mark(channel, { as: 'seen' });
    const odd = sent.filter(({ offset }) => offset % 2 === 1).map(at);
    for (let i = 0; i < 4_000; i += 1000) {
      await b.mark(channel, { as: 'read', messages: odd.slice(i, i + 1000) });
    }
    const full = await b.mark(channel, { as: 'read', messages: odd.slice(4_000, 4_095) });
    assert.equal(full.marks.read.length + full.marks.seen.length, 4_096);
    const refused = { name: 'TooManyRangesError', code: 'TOO_MANY_RANGES' };
    for (const as of ['read', 'archived', 'deleted'] as const) {
      await assert.rejects(a.mark(channel, { as, messages: [odd[4_100]!] }), (error) => {
        assert.ok(error instanceof RangeError);
        assert.deepEqual({ name: error.name, code: (error as { code?: unknown }).code }, refused);
        return true;
      });
    }
    assert.deepEqual((await a.marks(channel)).marks, full.marks);
    // What makes no more of them goes on, and so does what is withdrawn.
    assert.equal((await a.mark(channel, { as: 'unread', messages: [odd[0]!] })).changed, 1);
    assert.equal((await a.mark(channel, { as: 'read', messages: [odd[0]!] })).changed, 1);
    assert.equal(await a.remove(channel, { position: odd[4_100]! }), true);
    const { changed, ...all } = await a.mark(channel, { as: 'read' });
    assert.equal(changed, 8_300 - 4_095 - 1);
    assert.deepEqual(counts(all), { unseen: 0, unread: 0, all: 8_299 });
  });

  promise('marks of channels whose names have any characters stay apart', async (a, b) => {
    const base = nextChannel();
    const names = [
      '',
      '{',
      '}',
      '{a}',
      'a}b{',
      '%7B',
      '{}',
      ' ',
      'ü你🎉',
      '*',
      '\r\n',
      ':marks',
      ':keys',
      ':ttl',
    ];
    const channels = names.map((odd) => base + odd);
    for (const [i, channel] of channels.entries()) {
      await fill(a, channel, i + 1, { replaces: `of ${i % 3}`, ttl: 60_000 });
      await b.mark(channel, { as: i % 2 ? 'read' : 'archived' });
    }
    for (const [i, channel] of channels.entries()) {
      const wanted = [...Array.from({ length: i }, () => 'gone'), i % 2 ? 'read' : 'unseen, archived'];
      assert.deepEqual(states(await a.marks(channel)), wanted, channel);
    }
  });
}

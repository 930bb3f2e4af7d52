/** A store beside that in memory: whatever is sent, marked, replaced and withdrawn, both say the same. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Broker, Position } from '../../../src/pubsub/store/broker.ts';
import type { MarkAs, Marked, Marks, Ranges } from '../../../src/pubsub/store/marks.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { options, Recorder, text } from './broker-suite.ts';
import { at } from './marks-suite.ts';

const within = (ranges: Ranges, first: number): Ranges =>
  ranges.filter(([, last]) => last >= first).map(([from, last]) => [Math.max(from, first), last]);
const statesOf = ({ marks, first }: Pick<Marked, 'marks' | 'first'>): Partial<Marks> => ({
  seen: within(marks.seen, first),
  read: within(marks.read, first),
  archived: within(marks.archived, first),
  gone: within(marks.gone, first),
});

/** @param a, b brokers over one store */
export async function agreeWithMemory(a: Broker, b: Broker, runs = 100): Promise<void> {
  const store = new MemoryStore();
  const [c, d] = [memoryBroker(store), memoryBroker(store)];
  const recorders = [new Recorder(), new Recorder()];
  const offset = fc.nat({ max: 30 });
  const action = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ type: fc.constant('send' as const), key: fc.option(fc.nat({ max: 3 })) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant('mark' as const),
        as: fc.constantFrom<MarkAs>('seen', 'read', 'unread', 'archived', 'unarchived', 'deleted'),
        which: fc.oneof(
          fc.constant('all' as const),
          fc.record({ upTo: offset }),
          fc.array(offset, { maxLength: 12 }),
        ),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant('withdraw' as const),
        which: fc.oneof(offset, fc.record({ key: fc.nat({ max: 3 }) })),
      }),
    },
  );
  await Promise.all([c.open(recorders[0]!), d.open(recorders[1]!)]);
  let count = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60 }), async (actions) => {
      const channel = `model-${count++}`;
      const retention = { maxMessages: 16, maxAge: 3_600_000 };
      const places: [Position[], Position[]] = [[], []];
      const both = async <T>(
        work: (broker: Broker, positions: Position[]) => Promise<T>,
      ): Promise<[T, T]> => {
        const turn = places[0].length % 2 === 0;
        return Promise.all([work(turn ? a : b, places[0]), work(turn ? c : d, places[1])]);
      };
      // Some that are none.
      const nth = (positions: Position[], which: number): Position =>
        positions[which] ?? {
          epoch: which % 2 === 0 ? 'other' : (positions[0]?.epoch ?? ''),
          offset: which,
          id: 'x'.repeat(16),
        };
      for (const one of actions) {
        if (one.type === 'send') {
          const more = one.key === null ? {} : { replaces: `key ${one.key}` };
          const receipts = await both((broker) =>
            broker.publish(channel, 'text', text('x'), options({ retention, ...more })),
          );
          for (const [i, receipt] of receipts.entries()) places[i]!.push(at(receipt));
        } else if (one.type === 'mark') {
          const { as, which } = one;
          const [storeSays, memorySays] = await both((broker, positions) =>
            broker.mark(
              channel,
              which === 'all'
                ? { as }
                : Array.isArray(which)
                  ? { as, messages: which.map((n) => nth(positions, n)) }
                  : { as, upTo: nth(positions, which.upTo) },
            ),
          );
          assert.equal(storeSays.changed, memorySays.changed);
          assert.equal(storeSays.marks.version.offset, memorySays.marks.version.offset);
        } else {
          const { which } = one;
          const [storeSays, memorySays] = await both((broker, positions) =>
            broker.remove(
              channel,
              typeof which === 'number' ? { position: nth(positions, which) } : { key: `key ${which.key}` },
            ),
          );
          assert.equal(storeSays, memorySays);
        }
        const [mine, theirs] = await Promise.all([b.marks(channel), d.marks(channel)]);
        assert.deepEqual(statesOf(mine), statesOf(theirs));
        assert.deepEqual(
          [mine.first, mine.most, mine.top.offset],
          [theirs.first, theirs.most, theirs.top.offset],
        );
        assert.equal(mine.marks.version.offset, theirs.marks.version.offset);
        const pages = await Promise.all([a, c].map((broker) => broker.read(channel, 0, 100)));
        const [kinds, wanted] = pages.map(({ messages }) =>
          messages.map((message) => [message.offset, message.kind]),
        );
        assert.deepEqual(kinds, wanted);
      }
      const { marked } = await a.opening(channel);
      const looked = await a.marks(channel);
      if (marked!.top.offset > 0) assert.deepEqual(marked, looked);
    }),
    { includeErrorInReport: true, numRuns: Number(process.env['STORE_MODEL_RUNS'] ?? runs) },
  );
  await Promise.all([c.close(), d.close()]);
}

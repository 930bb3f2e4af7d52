import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  applied,
  checkLife,
  checkMark,
  clipped,
  countsOf,
  expiryOf,
  includes,
  type KeptLog,
  type MarkAs,
  type Marks,
  NO_MARKS,
  type Ranges,
  rangesOf,
  sizeWithin,
  TooManyRangesError,
  targetOf,
  union,
  withGone,
  without,
} from '../../src/pubsub/store/marks.ts';

const SIZE = 40;

/** Numbers that look random and are the same each time. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state * 1103515245 + 12345) % 2147483648;
    yield state / 2147483648;
  }
}

test('ranges: union, without, includes and sizeWithin are those of sets', () => {
  const random = numbers(7);
  const some = (): Set<number> => {
    const share = random.next().value;
    return new Set(Array.from({ length: SIZE }, (_, i) => i + 1).filter(() => random.next().value < share));
  };
  for (let run = 0; run < 2_000; run++) {
    const [a, b] = [some(), some()];
    assert.deepEqual(union(rangesOf([...a]), rangesOf([...b])), rangesOf([...a, ...b]));
    assert.deepEqual(without(rangesOf([...a]), rangesOf([...b])), rangesOf([...a].filter((n) => !b.has(n))));
    assert.deepEqual(clipped(rangesOf([...a]), 17), rangesOf([...a].filter((n) => n >= 17)));
    for (let offset = 0; offset <= SIZE + 1; offset++)
      assert.equal(includes(rangesOf([...a]), offset), a.has(offset));
    assert.equal(sizeWithin(rangesOf([...a]), 10, 30), [...a].filter((n) => n >= 10 && n <= 30).length);
  }
});

test('counts: what is kept, without what is gone or archived; what is read is not unread', () => {
  assert.deepEqual(countsOf(NO_MARKS, 11, 20), { unseen: 10, unread: 10, all: 10 });
  assert.deepEqual(countsOf(NO_MARKS, 21, 20), { unseen: 0, unread: 0, all: 0 });
  const marks = {
    ...NO_MARKS,
    seen: [[1, 15]],
    read: [[1, 12]],
    archived: [[12, 13]],
    gone: [[5, 11]],
  } as const;
  // 14 to 20 are left; 16 to 20 are unseen, and none of those left is read.
  assert.deepEqual(countsOf(marks, 11, 20), { unseen: 5, unread: 7, all: 7 });
});

test('ranges: of offsets in any order, some of them twice', () => {
  assert.deepEqual(rangesOf([]), []);
  assert.deepEqual(rangesOf([9, 3, 4, 3, 1, 8, 5]), [
    [1, 1],
    [3, 5],
    [8, 9],
  ]);
});

const log = (first: number, offset: number): KeptLog => ({
  epoch: 'e',
  first,
  offset,
  idAt: (at) => (Number.isInteger(at) && at >= first && at <= offset ? `i${at}` : undefined),
});
const at = (offset: number, id = `i${offset}`, epoch = 'e') => ({ epoch, offset, id });

test('a mark is about messages that are kept, by epoch and id; about all up to one; or about all', () => {
  const target = (mark: object, [first, offset] = [11, 20]): Ranges =>
    targetOf({ as: 'read', ...mark }, log(first!, offset!));
  assert.deepEqual(target({}), [[11, 20]]);
  assert.deepEqual(target({}, [21, 20]), []);
  assert.deepEqual(target({ messages: [] }), []);
  assert.deepEqual(target({ upTo: at(11) }), [[11, 11]]);
  assert.deepEqual(target({ upTo: at(20) }), [[11, 20]]);
  assert.deepEqual(target({ messages: [at(20), at(12), at(12), at(13)] }), [
    [12, 13],
    [20, 20],
  ]);
  for (const bad of [
    at(10),
    at(21),
    at(15, 'x'),
    at(15, 'i15', 'f'),
    at(15.5),
    at(0, ''),
    { epoch: 'e', offset: 3 },
  ]) {
    assert.deepEqual(target({ upTo: bad }), []);
    assert.deepEqual(target({ messages: [bad] }), []);
  }
});

test('marks: whatever is done in whatever order, each is what a set of offsets would be', () => {
  const random = numbers(11);
  const pick = (count: number): number => Math.floor(random.next().value * count);
  const kinds: MarkAs[] = ['seen', 'read', 'unread', 'archived', 'unarchived', 'deleted'];
  for (let run = 0; run < 500; run++) {
    let marks: Marks = NO_MARKS;
    const seen = new Set<number>();
    const read = new Set<number>();
    const archived = new Set<number>();
    const gone = new Set<number>();
    let first = 1;
    for (let step = 0; step < 20; step++) {
      first = Math.min(SIZE, first + pick(3));
      const from = first + pick(SIZE - first + 1);
      const about = pick(2)
        ? Array.from({ length: pick(5) }, () => first + pick(SIZE - first + 1))
        : Array.from({ length: SIZE - from + 1 }, (_, i) => from + i);
      const before = (offset: number): string =>
        [seen, read, archived, gone].map((set) => set.has(offset)).join();
      const was = new Map(about.map((offset) => [offset, before(offset)]));
      if (pick(8) === 0) {
        const change = withGone(marks, rangesOf([...about]), first);
        marks = change.marks;
        for (const offset of about) gone.add(offset);
        assert.equal(change.changed, [...was].filter(([offset, state]) => before(offset) !== state).length);
      } else {
        const as = kinds[pick(kinds.length)]!;
        const change = applied(marks, as, rangesOf([...about]), first);
        marks = change.marks;
        for (const offset of about.filter((offset) => !gone.has(offset))) {
          if (as === 'seen' || as === 'read') seen.add(offset);
          if (as === 'read') read.add(offset);
          if (as === 'unread') read.delete(offset);
          if (as === 'archived') archived.add(offset);
          if (as === 'unarchived') archived.delete(offset);
          if (as === 'deleted') gone.add(offset);
        }
        assert.equal(change.changed, [...was].filter(([offset, state]) => before(offset) !== state).length);
      }
      const kept = (set: Set<number>): Ranges => rangesOf([...set].filter((offset) => offset >= first));
      for (const [name, set] of Object.entries({ seen, read, archived, gone })) {
        assert.deepEqual(clipped(marks[name as 'seen'], first), kept(set), name);
      }
      const shown = Array.from({ length: SIZE - first + 1 }, (_, i) => first + i).filter(
        (offset) => !gone.has(offset) && !archived.has(offset),
      );
      assert.deepEqual(countsOf(marks, first, SIZE), {
        unseen: shown.filter((offset) => !seen.has(offset)).length,
        unread: shown.filter((offset) => !read.has(offset)).length,
        all: shown.length,
      });
    }
  }
});

test('marks that change nothing are the same marks; what changes them leaves the old ones as they were', () => {
  const { marks } = applied(NO_MARKS, 'read', [[1, 5]], 1);
  assert.equal(applied(marks, 'seen', [[2, 3]], 1).marks, marks);
  assert.equal(applied(marks, 'unarchived', [[1, 5]], 1).marks, marks);
  assert.equal(withGone(marks, [[1, 5]], 6).marks, marks, 'below what is kept nothing is taken away');
  const before = structuredClone(marks);
  applied(marks, 'unread', [[2, 3]], 1);
  applied(marks, 'archived', [[2, 9]], 4);
  withGone(marks, [[2, 9]], 4);
  assert.deepEqual(marks, before);
  assert.deepEqual(NO_MARKS.seen, []);
});

test('more than 4,096 ranges are refused to marks, and to nothing else', () => {
  const every = (from: number, count: number): Ranges =>
    Array.from({ length: count }, (_, i) => [from + 2 * i, from + 2 * i]);
  const { marks } = applied(NO_MARKS, 'archived', every(1, 4096), 1);
  assert.throws(() => applied(marks, 'archived', [[9001, 9001]], 1), TooManyRangesError);
  assert.throws(() => applied(marks, 'seen', [[2, 2]], 1), TooManyRangesError);
  assert.equal(applied(marks, 'archived', [[1, 9001]], 1).changed, 9001 - 4096);
  assert.equal(applied(marks, 'unarchived', [[1, 1]], 1).marks.archived.length, 4095);
  assert.equal(applied(marks, 'archived', [[9001, 9001]], 3).changed, 1, 'what is not kept does not count');
  const over = withGone(marks, every(2, 10), 1);
  assert.equal(over.changed, 10);
  // It may get less from there, or stay as it is.
  assert.equal(applied(over.marks, 'unarchived', [[1, 1]], 1).changed, 1);
  assert.equal(applied(over.marks, 'archived', [[8192, 8192]], 1).changed, 1);
});

test('what can be no mark, key or lifetime is refused', () => {
  for (const as of ['', 'unseen', 'constructor', null, undefined, 7]) {
    assert.throws(() => checkMark({ as: as as MarkAs }), TypeError);
  }
  assert.throws(() => checkMark({ as: 'read', upTo: at(1), messages: [] }), TypeError);
  assert.throws(
    () => checkMark({ as: 'read', messages: Array.from({ length: 1001 }, () => at(1)) }),
    RangeError,
  );
  checkMark({ as: 'deleted', messages: Array.from({ length: 1000 }, () => at(1)) });
  for (const ttl of [0, -1, Number.NaN]) assert.throws(() => checkLife({ ttl }), RangeError);
  for (const replaces of ['', 'x'.repeat(257), 7 as unknown as string]) {
    assert.throws(() => checkLife({ replaces }), RangeError);
  }
  checkLife({ ttl: 0.5, replaces: 'x' });
});

test('a message expires a whole number of milliseconds after it was stored, or never', () => {
  assert.equal(expiryOf(1000, 0.2), 1001);
  assert.equal(expiryOf(1000, 50), 1050);
  assert.equal(expiryOf(1000, undefined), undefined);
  assert.equal(expiryOf(1000, Number.POSITIVE_INFINITY), undefined);
  assert.ok(Number.isSafeInteger(expiryOf(Date.now(), Number.MAX_VALUE)));
});

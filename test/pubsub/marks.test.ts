import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  countsOf,
  includes,
  NO_MARKS,
  type Ranges,
  sizeWithin,
  union,
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

function rangesOf(offsets: ReadonlySet<number>): Ranges {
  const ranges: [number, number][] = [];
  for (let offset = 1; offset <= SIZE; offset++) {
    if (!offsets.has(offset)) continue;
    if (ranges.at(-1)?.[1] === offset - 1) ranges.at(-1)![1] = offset;
    else ranges.push([offset, offset]);
  }
  return ranges;
}

test('ranges: union, without, includes and sizeWithin are those of sets', () => {
  const random = numbers(7);
  const some = (): Set<number> => {
    const share = random.next().value;
    return new Set(Array.from({ length: SIZE }, (_, i) => i + 1).filter(() => random.next().value < share));
  };
  for (let run = 0; run < 2_000; run++) {
    const [a, b] = [some(), some()];
    assert.deepEqual(union(rangesOf(a), rangesOf(b)), rangesOf(new Set([...a, ...b])));
    assert.deepEqual(without(rangesOf(a), rangesOf(b)), rangesOf(new Set([...a].filter((n) => !b.has(n)))));
    for (let offset = 0; offset <= SIZE + 1; offset++)
      assert.equal(includes(rangesOf(a), offset), a.has(offset));
    assert.equal(sizeWithin(rangesOf(a), 10, 30), [...a].filter((n) => n >= 10 && n <= 30).length);
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

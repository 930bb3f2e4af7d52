import assert from 'node:assert/strict';
import test from 'node:test';
import type { Position } from '../../../src/pubsub/store/broker.ts';
import { follow, isSame, judge, type Page, readOffset } from '../../../src/push/delivery/judge.ts';

const at = (offset: number, id = `m${offset}`, epoch = 'e'): Position => ({ epoch, offset, id });

/** A log of the offsets given, read as `judge` wants it. */
function read(position: Position, offsets: number[], top = at(offsets.at(-1) ?? 0)): Page<Position> {
  const after = readOffset(position);
  return {
    messages: offsets.filter((offset) => offset > after).map((offset) => at(offset)),
    top,
    first: offsets[0] ?? top.offset + 1,
  };
}

test('a position whose entry is there with its id is continued', () => {
  const position = at(3);
  const { reason, from, messages } = judge(position, read(position, [1, 2, 3, 4, 5]));
  assert.deepEqual({ reason, from }, { reason: undefined, from: position });
  assert.deepEqual(messages, [at(4), at(5)]);
});

test('a position at the top is continued by the id of the top, even where its entry has expired', () => {
  const position = at(5);
  assert.equal(judge(position, read(position, [4, 5])).reason, undefined);
  assert.equal(judge(position, read(position, [], at(5))).reason, undefined);
  assert.equal(judge(position, read(position, [], at(5, 'other'))).reason, 'rewound');
});

test('another epoch, another id at the offset, or an end before it is a rewound store', () => {
  const log = [1, 2, 3, 4, 5];
  for (const position of [at(3, 'm3', 'old'), at(3, 'other'), at(9)]) {
    const { reason, from, messages } = judge(position, read(position, log, at(5)));
    assert.equal(reason, 'rewound');
    assert.deepEqual(from, { epoch: 'e', offset: 0, id: '' });
    assert.deepEqual(messages, []);
  }
});

test('a position behind what is retained is trimmed, and goes on with what is left', () => {
  for (const position of [at(3), at(8)]) {
    const page = read(position, [9, 10]);
    const { reason, from } = judge(position, page);
    assert.equal(reason, 'trimmed');
    assert.deepEqual(from, { epoch: 'e', offset: 8, id: '' });
    assert.deepEqual(follow(from, page, 0).messages, [at(9), at(10)]);
  }
});

test('where nothing is left the new beginning is the top itself', () => {
  const position = at(3);
  const { reason, from } = judge(position, read(position, [], at(10)));
  assert.equal(reason, 'trimmed');
  assert.deepEqual(from, at(10));
});

test('the place before the first message is continued within its epoch only', () => {
  const origin = at(0, '');
  assert.deepEqual(judge(origin, read(origin, [1, 2])).messages, [at(1), at(2)]);
  assert.equal(judge(origin, read(origin, [2, 3])).reason, 'trimmed');
  assert.equal(judge(at(0, '', 'old'), read(origin, [1, 2])).reason, 'rewound');
});

test('a position that can be of no message is told to be unknown', () => {
  assert.equal(judge(at(3, ''), read(at(3), [1, 2, 3, 4])).reason, 'unknown-position');
});

test('a hole in the log is never stepped over silently', () => {
  const position = at(2);
  const page = read(position, [1, 2, 3, 6, 7]);
  assert.deepEqual(judge(position, page).messages, [at(3)]);
  const behind = judge(at(3), read(at(3), [1, 2, 3, 6, 7]));
  assert.equal(behind.reason, 'trimmed');
  assert.deepEqual(behind.from, { epoch: 'e', offset: 5, id: '' });
  const atEnd = judge(at(3), read(at(3), [1, 2, 3], at(5)));
  assert.equal(atEnd.reason, 'trimmed');
  assert.deepEqual(atEnd.from, at(5));
});

test('an unused channel may get its epoch, but not lose it', () => {
  assert.ok(isSame(at(0, '', ''), at(0, '', 'e')));
  assert.ok(!isSame(at(0, '', 'e'), at(0, '', '')));
  assert.ok(!isSame(at(1), at(1, 'other')));
});

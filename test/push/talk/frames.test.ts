import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFrame } from '../../../src/push/talk/frames.ts';

const parse = (text: string): unknown => parseFrame(Buffer.from(text));

test('a frame is a JSON object with a type that is a string', () => {
  assert.deepEqual(parse('{"type":"ping"}'), { type: 'ping' });
  for (const text of [
    '',
    'null',
    '1',
    '[]',
    '"ping"',
    '{}',
    '{"type":1}',
    '{"type":"ping"',
    '{"type":"ping"}}',
  ]) {
    assert.equal(parse(text), undefined, text);
  }
});

test('a frame may nest 500 levels, and no deeper, whatever its brackets are', () => {
  const nested = (levels: number, open: string, close: string): string =>
    `{"type":"publish","data":${open.repeat(levels)}1${close.repeat(levels)}}`;
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    assert.notEqual(parse(nested(499, open, close)), undefined);
    assert.equal(parse(nested(501, open, close)), undefined);
    assert.equal(parse(nested(100_000, open, close)), undefined);
  }
  assert.equal(parse(`{"type":"publish","data":${'['.repeat(300_000)}`), undefined);
});

test('brackets in strings are no levels, nor are those that are closed again', () => {
  const many = '['.repeat(5_000);
  assert.notEqual(parse(JSON.stringify({ type: 'publish', data: many })), undefined);
  assert.notEqual(parse(JSON.stringify({ type: 'publish', data: `\\"${many}\\` })), undefined);
  assert.notEqual(parse(JSON.stringify({ type: 'publish', data: [`\\`, many, '"', many] })), undefined);
  assert.notEqual(parse(JSON.stringify({ type: 'publish', data: Array(5_000).fill([{}]) })), undefined);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatExtensions, parseExtensions } from '../../src/protocol/index.ts';

test('§9.1: the examples', () => {
  assert.deepEqual(parseExtensions('deflate-stream'), [{ name: 'deflate-stream', parameters: [] }]);
  assert.deepEqual(parseExtensions('mux; max-channels=4; flow-control, deflate-stream'), [
    {
      name: 'mux',
      parameters: [
        { name: 'max-channels', value: '4' },
        { name: 'flow-control', value: undefined },
      ],
    },
    { name: 'deflate-stream', parameters: [] },
  ]);
  assert.deepEqual(parseExtensions('private-extension'), [{ name: 'private-extension', parameters: [] }]);
});
test('§9.1: optional space, quoted values, escapes in them', () => {
  const [offer] = parseExtensions(' \ta ;b = 1; c="2"\t;d="\\x\\y", e ');
  assert.deepEqual(offer?.parameters, [
    { name: 'b', value: '1' },
    { name: 'c', value: '2' },
    { name: 'd', value: 'xy' },
  ]);
});
test('§9.1: order and repetition are kept', () => {
  const header = 'a; x=1; x=2, b, a; x';
  assert.equal(formatExtensions(parseExtensions(header)), header);
});
test('prototype-named extensions and parameters are names like any other', () => {
  const header = '__proto__; constructor=1; __proto__=2, hasOwnProperty';
  assert.equal(formatExtensions(parseExtensions(header)), header);
  assert.equal(Object.keys(Object.prototype).length, 0);
});
test('ReDoS, quadratic parsing: a head of megabytes is parsed in linear time', () => {
  // At the rate of a quadratic parser any of these would run for many minutes.
  const n = 2 ** 20;
  for (const header of [
    `a${' '.repeat(n)}`,
    `a${'; b'.repeat(n)}`,
    `a${', b'.repeat(n)}`,
    `a; b="${'\\x'.repeat(n)}"`,
  ]) {
    assert.ok(parseExtensions(header).length > 0);
  }
  assert.throws(() => parseExtensions(`a${' '.repeat(n)}b`), {
    name: 'SyntaxError',
    message: /index 1048577$/,
  });
});
test('the error says where', () => {
  assert.throws(() => parseExtensions('a; b=c d'), { message: 'Unexpected character at index 7' });
  assert.throws(() => parseExtensions('a; b="c'), { message: 'Unexpected end of input' });
});

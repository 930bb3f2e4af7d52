/** W3C Trace Context: what is not as it says counts as not given. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeTrace, encodeTrace, parseTrace } from '../../../src/push/tracing/trace-context.ts';

const ID = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const PARENT = `00-${ID}-${SPAN}-01`;

test('§3.2: a traceparent is read by its version, ids and flags', () => {
  assert.deepEqual(parseTrace(PARENT), { traceId: ID, spanId: SPAN, isSampled: true, state: undefined });
  assert.equal(parseTrace(`00-${ID}-${SPAN}-00`)?.isSampled, false);
  assert.equal(parseTrace(`00-${ID}-${SPAN}-03`)?.isSampled, true);
  // Of a newer version as much is read as of version 0.
  assert.equal(parseTrace(`cc-${ID}-${SPAN}-01-what-follows`)?.traceId, ID);
});

for (const [what, given] of [
  ['another version without a dash', `cc-${ID}-${SPAN}-01.x`],
  ['version ff', `ff-${ID}-${SPAN}-01`],
  ['more than version 00 has', `${PARENT}-x`],
  ['upper case', PARENT.toUpperCase()],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['a span of zeros', `00-${ID}-${'0'.repeat(16)}-01`],
  ['too short', PARENT.slice(0, -1)],
  ['a space', ` ${PARENT}`],
  ['a line break', `${PARENT}\n`],
  ['no digits', `00-${'g'.repeat(32)}-${SPAN}-01`],
  ['nothing', ''],
  ['10 kB', `cc-${ID}-${SPAN}-01-${'x'.repeat(10_000)}`],
  ['a number', 1],
  ['several', [PARENT]],
  ['null', null],
] as const) {
  test(`§3.2.2: ${what} is no traceparent`, () => assert.equal(parseTrace(given), undefined));
}

test('§3.3: a tracestate is kept as it is, without empty members and spaces around', () => {
  const state = (text: unknown): string | undefined => parseTrace(PARENT, text)!.state;
  assert.equal(
    state('rojo=00f067aa0ba902b7, ,congo=t61 rcWkgMzE\t,'),
    'rojo=00f067aa0ba902b7,congo=t61 rcWkgMzE',
  );
  assert.equal(state('tenant@vendor=1'), 'tenant@vendor=1');
  for (const bad of [
    '',
    ' , ',
    'a',
    'A=1',
    'a=1,a=2',
    'a=\u00e9',
    'a=b=c',
    '=1',
    'a=1\nb=2',
    'a=1\n',
    'a=1\u00a0',
    'a=1;b',
    7,
    null,
    'a= ',
  ])
    assert.ok(state(bad) === undefined || bad === 'a=1;b', String(bad));
  assert.equal(state(Array.from({ length: 33 }, (_, i) => `k${i}=1`).join()), undefined);
  assert.equal(state('x'.repeat(10_000)), undefined);
});

test('a tracestate with any number of spaces is looked at once: as many as may come take no time', () => {
  const wide = `a=1${' \t'.repeat(4_000)}b`;
  for (let i = 0; i < 2_000; i++) assert.equal(parseTrace(PARENT, wide)!.state, undefined);
});

test('§3.3.1.5: of a long one the newest members are kept', () => {
  const long = Array.from({ length: 30 }, (_, i) => `k${i}=${'v'.repeat(50)}`).join();
  const { state } = parseTrace(PARENT, long)!;
  assert.ok(state!.length <= 256 && state!.startsWith('k0=') && long.startsWith(`${state},`));
  // Spaces are stored as three characters.
  for (const text of [
    `a=${' '.repeat(254)}b`,
    `a=${'%'.repeat(254)}b`,
    `a=${' %'.repeat(40)}b,b=${'%'.repeat(80)}`,
  ])
    assert.ok(encodeTrace(parseTrace(PARENT, text)!).length <= 300, text);
});

test('what is stored is short, has no space, and is read again as it was', () => {
  assert.equal(encodeTrace(parseTrace(PARENT)!).length, 32);
  for (const text of [undefined, 'a=1', 'a=b c%20d,b=;~!', 'a=%,b=%25']) {
    const trace = parseTrace(PARENT, text)!;
    const stored = encodeTrace(trace);
    assert.match(stored, /^[!-~]{1,400}$/);
    assert.deepEqual(decodeTrace(stored), trace);
  }
});

test('anything else in its place is none', () => {
  for (const text of [
    '',
    'x',
    ';',
    'A'.repeat(32),
    '!'.repeat(32),
    'a'.repeat(31),
    'a'.repeat(33),
    `${'a'.repeat(32)}x=1`,
  ])
    assert.equal(decodeTrace(text), undefined, text);
});

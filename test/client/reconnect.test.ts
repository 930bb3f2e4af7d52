import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reconnectDelay } from '../../src/client/reconnect.ts';

test('backoff: the first try falls anywhere within 0.5 s, each further span is twice as long, up to 20 s', () => {
  const spans = [1, 2, 3, 4, 5, 6, 7, 8, 60, 2000].map((attempt) => reconnectDelay({}, attempt, 1006, 1));
  assert.deepEqual(spans, [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000, 20000]);
  assert.equal(reconnectDelay({}, 5, 1006, 0), 0);
  assert.equal(reconnectDelay({}, 5, 1006, 0.5), 4000);
});

test('backoff: limits of the page are kept', () => {
  const options = { min: 10, max: 30, attempts: 3 };
  assert.deepEqual(
    [1, 2, 3, 4].map((attempt) => reconnectDelay(options, attempt, 1006, 1)),
    [10, 20, 30, undefined],
  );
});

test('fixed: 20 tries, 10 s apart, then never', () => {
  const delays = Array.from({ length: 21 }, (_, i) => reconnectDelay({ mode: 'fixed' }, i + 1, 1006, 0.3));
  assert.deepEqual(delays, [...Array(20).fill(10_000), undefined]);
});

test('close codes: 4500 to 4999 are final, all others are not', () => {
  for (const code of [1000, 1001, 1006, 1012, 3000, 4000, 4408, 4412, 4430, 4499])
    assert.equal(typeof reconnectDelay({}, 1, code, 0.5), 'number', `${code}`);
  for (const code of [4500, 4501, 4503, 4509, 4999])
    assert.equal(reconnectDelay({}, 1, code, 0.5), undefined, `${code}`);
  assert.equal(reconnectDelay(false, 1, 1006, 0.5), undefined);
});

test('close code 4429: a client told to slow down spreads over the longest span at once', () => {
  assert.equal(reconnectDelay({}, 1, 4429, 0.5), 10_000);
});

/** The regression gate: counts of system calls and allocations, never a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, exceeded, gateScenarios } from '../../bench/gate.ts';
import { countLogins, LOGIN_LIMIT } from '../../bench/logins.ts';

const skip = process.platform === 'linux' ? false : 'system calls are counted in /proc';

for (const scenario of gateScenarios) {
  test(`gate: ${scenario.name}`, { skip, timeout: 600_000 }, async () => {
    assert.deepEqual(exceeded(await count(scenario), scenario.limits), []);
  });
}

test('gate: a session with an end costs at most 100 bytes and no timer', () => {
  const { bytes, timers } = countLogins();
  assert.ok(bytes > 0 && bytes <= LOGIN_LIMIT, `${bytes} bytes`);
  assert.equal(timers, 0);
});

test('the gate names what costs too much, and what it could not count', () => {
  const limits = { reads: 1, writes: 1, allocated: 100 };
  assert.deepEqual(exceeded({ reads: 1, writes: 1, allocated: 100 }, limits), []);
  assert.deepEqual(exceeded({ reads: 1, writes: 1.5, allocated: 0 }, limits), [
    'writes: 1.5, allowed 1',
    'allocated were not counted at all',
  ]);
});

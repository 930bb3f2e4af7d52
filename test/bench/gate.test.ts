/** The regression gate: counts of system calls and allocations, never a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { count, gateScenarios } from '../../bench/gate.ts';

const skip = process.platform === 'linux' ? false : 'system calls are counted in /proc';

for (const scenario of gateScenarios) {
  test(`gate: ${scenario.name}`, { skip, timeout: 600_000 }, async () => {
    const counts = await count(scenario);
    for (const key of ['reads', 'writes', 'allocated'] as const) {
      assert.ok(
        counts[key] <= scenario.limits[key],
        `${key} for each message: ${counts[key]}, allowed ${scenario.limits[key]}`,
      );
      assert.ok(counts[key] > 0, `${key} were not counted at all`);
    }
  });
}

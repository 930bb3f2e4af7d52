import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreClock } from '../../../src/push/inbox/store-clock.ts';

test('what time it is in the store is learned from messages, and is not ahead of it', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
  const clock = new StoreClock();
  assert.equal(clock.until(1_000_500), 500);
  // Its clock is an hour ahead of ours; a message that comes late says less.
  clock.heard(1_000_000 + 3_600_000);
  clock.heard(1_000_000 + 3_500_000);
  assert.equal(clock.until(1_000_500 + 3_600_000), 500);
  t.mock.timers.setTime(1_000_600);
  assert.equal(clock.until(1_000_500 + 3_600_000), -100);
});

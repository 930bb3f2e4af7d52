import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Due, Wheel } from '../../src/push/wheel.ts';
import { until } from '../support/net.ts';

interface Item extends Due {
  name: string;
}

function made(): { wheel: Wheel<Item>; happened: string[]; item(name: string): Item } {
  const happened: string[] = [];
  const wheel = new Wheel<Item>(({ name }) => happened.push(name));
  return { wheel, happened, item: (name) => ({ name, due: 0 }) };
}

test('each happens once, not before its time, and by the first sweep of the second after it', () => {
  const { wheel, happened, item } = made();
  const times = [1, 999, 1_000, 1_001, 5_500, 511_000, 512_000, 513_000, 1_024_500, 3_600_000, 3_600_001];
  for (const time of times) wheel.add(item(String(time)), time);
  const when = new Map<string, number>();
  for (let now = 0; now <= 3_700_000; now += 250) {
    wheel.sweep(now);
    for (const name of happened.splice(0)) {
      assert.ok(!when.has(name));
      when.set(name, now);
    }
  }
  for (const time of times) {
    const happenedAt = when.get(String(time))!;
    assert.ok(happenedAt >= time && happenedAt < time + 1_250, `${time} at ${happenedAt}`);
  }
  assert.equal(wheel.size, 0);
});

test('what is moved happens at its new time, and what is taken out never', () => {
  const { wheel, happened, item } = made();
  const [later, earlier, never, twice] = ['later', 'earlier', 'never', 'twice'].map(item) as [
    Item,
    Item,
    Item,
    Item,
  ];
  for (const each of [later, earlier, never, twice]) wheel.add(each, 10_000);
  wheel.add(twice, 10_000);
  wheel.add(later, 20_000);
  wheel.add(earlier, 3_000);
  wheel.delete(never);
  wheel.delete(never);
  wheel.sweep(4_000);
  assert.deepEqual(happened, ['earlier']);
  wheel.sweep(12_000);
  assert.deepEqual(happened, ['earlier', 'twice']);
  wheel.sweep(21_000);
  assert.deepEqual(happened, ['earlier', 'twice', 'later']);
  assert.equal(wheel.size, 0);
});

test('a time that is over happens with the next sweep, one beyond all bounds never', () => {
  const { wheel, happened, item } = made();
  wheel.sweep(1_000_000);
  for (const time of [-1e300, -1, 0, 1, 999_999]) wheel.add(item(String(time)), time);
  const far = [8.64e15, 1e300, Number.MAX_VALUE].map((time) => {
    const each = item(String(time));
    wheel.add(each, time);
    return each;
  });
  wheel.sweep(1_000_500);
  assert.equal(happened.length, 5);
  for (let now = 1_001_000; now < 3_000_000; now += 1_000) wheel.sweep(now);
  assert.equal(happened.length, 5);
  assert.equal(wheel.size, 3);
  for (const each of far) wheel.delete(each);
  assert.equal(wheel.size, 0);
});

test('nothing is passed over where no sweep came for an hour', async () => {
  const { wheel, happened, item } = made();
  wheel.sweep(1_000);
  for (let second = 2; second < 3_600; second++) wheel.add(item(String(second)), second * 1_000);
  const later = item('later');
  wheel.add(later, 10_000_000);
  wheel.sweep(3_600_000);
  await until('all', () => happened.length === 3_598);
  assert.ok(!happened.includes('later'));
});

test('of thousands that are due at once some happen in each turn, and others are heard between them', async () => {
  const { wheel, happened, item } = made();
  const items = Array.from({ length: 5_000 }, (_, n) => item(String(n)));
  for (const each of items) wheel.add(each, 2_000);
  wheel.sweep(2_000);
  assert.equal(happened.length, 100);
  // One that goes by itself meanwhile, and one that gets another time.
  wheel.delete(items[4_998]!);
  wheel.add(items[4_999]!, 9_000);
  wheel.sweep(3_000);
  let turns = 0;
  while (happened.length < 4_998) {
    const before = happened.length;
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(happened.length - before <= 200);
    turns++;
  }
  assert.ok(turns >= 20, `${turns} turns`);
  assert.equal(new Set(happened).size, 4_998);
  wheel.sweep(9_000);
  assert.equal(happened.at(-1), '4999');
  assert.equal(wheel.size, 0);
});

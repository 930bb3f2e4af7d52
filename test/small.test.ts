/** The small set and map are Set and Map to whoever uses them, whatever is done in whatever order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SmallMap, SmallSet } from '../src/small.ts';

const step = fc.tuple(fc.constantFrom('add', 'delete', 'clear'), fc.integer({ min: 0, max: 3 }), fc.nat());
const steps = fc.array(step, { maxLength: 30 });

test('a small set has the members that a set would have, in its order', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const small = new SmallSet<number>();
      const set = new Set<number>();
      for (const [what, member] of all) {
        if (what === 'add') {
          small.add(member);
          set.add(member);
        } else assert.equal(small.delete(member), set.delete(member));
        assert.deepEqual([...small], [...set]);
        assert.equal(small.size, set.size);
        assert.ok(small.only === undefined || (set.size === 1 && set.has(small.only)));
        for (const each of [0, 1, 2, 3]) assert.equal(small.has(each), set.has(each));
      }
    }),
  );
});

test('a small map has the entries that a map would have', () => {
  fc.assert(
    fc.property(steps, (all) => {
      const small = new SmallMap<number, number>();
      const map = new Map<number, number>();
      for (const [what, key, value] of all) {
        if (what === 'add') {
          small.set(key, value);
          map.set(key, value);
        } else if (what === 'delete') assert.equal(small.delete(key), map.delete(key));
        else {
          small.clear();
          map.clear();
        }
        assert.deepEqual([...small.values()].sort(), [...map.values()].sort());
        assert.equal(small.size, map.size);
        for (const each of [0, 1, 2, 3]) {
          assert.equal(small.get(each), map.get(each));
          assert.equal(small.has(each), map.has(each));
        }
      }
    }),
  );
});

test('the one member that is replaced while it is met is met, too', () => {
  for (const set of [new Set([1]), new SmallSet<number>().add(1)]) {
    const met: number[] = [];
    for (const member of set) {
      met.push(member);
      set.delete(member);
      if (member < 3) set.add(member + 1);
    }
    assert.deepEqual(met, [1, 2, 3]);
  }
});

test('members that come and go while a small set is gone through are met or not, as in a set', () => {
  for (const set of [new Set([1]), new SmallSet<number>().add(1)]) {
    const met: number[] = [];
    for (const member of set) {
      met.push(member);
      if (member === 1) {
        set.delete(1);
        set.add(2);
        set.add(3);
      } else if (member === 2) set.delete(3);
    }
    assert.deepEqual(met, [1, 2]);
  }
});

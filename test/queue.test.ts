/** The queue against an array, with whatever order of calls. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Queue } from '../src/queue.ts';

test('a queue gives what an array would, whatever is done to it in whatever order', () => {
  let seed = 42;
  const below = (limit: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return seed % limit;
  };
  const queue = new Queue<number>();
  const model: number[] = [];
  let next = 0;
  // It grows past the length from which on it gives memory back, and runs empty, over and over.
  for (let round = 0; round < 40; round++) {
    const grows = round % 2 === 0;
    for (let step = 0; step < 3000; step++) {
      const what = below(100);
      if (step === 1500 && round % 8 === 0) {
        queue.clear();
        model.length = 0;
      } else if (what === 0) {
        const first = [next++, next++].slice(0, below(3));
        queue.addFirst(first);
        model.unshift(...first);
      } else if (what < (grows ? 75 : 15)) {
        queue.add(next);
        model.push(next++);
      } else {
        assert.equal(queue.take(), model.shift());
      }
      assert.equal(queue.length, model.length);
      assert.equal(queue.first, model[0]);
    }
    assert.deepEqual([...queue], model);
  }
});

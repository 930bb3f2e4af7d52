/** Joining what goes to one node: how much, when, and whose failure is whose. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JoinedCalls, type Part } from '../../../src/pubsub/store/joined-calls.ts';

interface Numbered extends Part {
  n: number;
}

function harness() {
  const made: {
    parts: number[];
    slot: number | undefined;
    answer(): Promise<void>;
    fail(): Promise<void>;
  }[] = [];
  const calls = new JoinedCalls<Numbered, number>(
    (parts, slot) =>
      new Promise((resolve, reject) => {
        const numbers = parts.map(({ n }) => n);
        const settled = (): Promise<void> => new Promise((done) => setImmediate(done));
        made.push({
          parts: numbers,
          slot,
          answer() {
            resolve(numbers);
            return settled();
          },
          fail() {
            reject(new Error('refused'));
            return settled();
          },
        });
      }),
  );
  const add = (n: number, slot?: number, more: Partial<Part> = {}) =>
    calls.add(slot, { n, count: 1, bytes: 10, ...more });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  return { made, add, turn };
}

test('what is added in one turn is one call for each slot, by whatever promise it came', async () => {
  const { made, add, turn } = harness();
  const all = [
    add(1),
    add(2, 7),
    Promise.resolve().then(() => Promise.resolve().then(() => add(3))),
    add(4, 7),
  ];
  await turn();
  assert.deepEqual(
    made.map(({ parts, slot }) => [slot, parts]),
    [
      [undefined, [1, 3]],
      [7, [2, 4]],
    ],
  );
  for (const { answer } of made) await answer();
  assert.deepEqual(await Promise.all(all), [1, 2, 3, 4]);
});

test('a lone message goes at once, also beside a call that is not answered; from the third on they are collected', async () => {
  const { made, add, turn } = harness();
  for (const n of [1, 2, 3, 4, 5]) {
    void add(n);
    await turn();
  }
  assert.deepEqual(
    made.map(({ parts }) => parts),
    [[1], [2]],
  );
  await made[1]!.answer();
  assert.deepEqual(made[2]!.parts, [3, 4, 5]);
});

test('a full call waits for nobody, and none is larger than full, but for one part that is so by itself', async () => {
  const { made, add, turn } = harness();
  for (let n = 0; n < 200; n++) void add(n);
  await turn();
  assert.deepEqual(
    made.map(({ parts }) => parts.length),
    [64, 64, 64],
  );
  const large = harness();
  for (let n = 0; n < 3; n++) void large.add(n, undefined, { bytes: 1_000_000, count: 40 });
  await large.turn();
  assert.deepEqual(
    large.made.map(({ parts }) => parts),
    [[0], [1], [2]],
  );
});

test('a call that fails does so for its own parts, and the next goes on', async () => {
  const { made, add, turn } = harness();
  const [one, two] = [add(1), add(2)];
  await turn();
  const three = add(3);
  await turn();
  const four = add(4);
  const failed = assert.rejects(one, /refused/);
  const failedToo = assert.rejects(two, /refused/);
  await made[0]!.fail();
  await Promise.all([failed, failedToo]);
  await made[1]!.answer();
  await made[2]!.answer();
  assert.deepEqual(await Promise.all([three, four]), [3, 4]);
});

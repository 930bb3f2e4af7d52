/** The fault beside a finding: the one that is nearest, however many there are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Fault } from '../../src/prove/faults.ts';
import { faultKinds } from '../../src/prove/index.ts';
import { Nearest } from '../../src/prove/nearest.ts';
import { Random } from '../../src/prove/random.ts';
import { judge, type Outcome } from '../../src/prove/result.ts';

const fault = (kind: Fault['kind'], from: number, to: number): Fault => ({ kind, from, to, pages: [0] });

test('the nearest fault is one that lasts, or else the last one before, or the first one after', () => {
  const nearest = new Nearest([
    fault('cut', 100, 100),
    fault('slow', 200, 400),
    fault('kill', 300, 350),
    fault('freeze', 900, Number.POSITIVE_INFINITY),
  ]);
  const at = (moment: number): string => {
    const { kind, before } = nearest.to(moment)!;
    return `${kind} ${before}`;
  };
  assert.equal(at(0), 'cut -100');
  assert.equal(at(149), 'cut 49');
  assert.equal(at(151), 'slow -49');
  assert.equal(at(320), 'slow 120');
  assert.equal(at(500), 'slow 300');
  assert.equal(at(800), 'freeze -100');
  assert.equal(at(1e9), `freeze ${1e9 - 900}`);
  assert.equal(new Nearest([]).to(1), undefined);
});

test('it is the one that is found by looking at all', () => {
  const random = new Random(3);
  for (let round = 0; round < 300; round++) {
    const faults = Array.from({ length: random.below(12) }, () => {
      const from = random.below(200);
      return fault(
        random.pick(faultKinds),
        from,
        random.chance(9) ? Number.POSITIVE_INFINITY : from + random.below(40),
      );
    });
    const nearest = new Nearest(faults);
    for (let moment = -5; moment < 250; moment += 1 + random.below(5)) {
      const distance = ({ from, to }: Fault): number =>
        moment < from ? from - moment : Math.max(0, moment - to);
      const least = Math.min(...faults.map(distance));
      const found = nearest.to(moment);
      const all = faults.filter((each) => distance(each) === least);
      // The first of those that last.
      const right = least === 0 ? all.slice(0, 1) : all;
      assert.ok(
        found === undefined
          ? faults.length === 0
          : right.some(({ kind, from }) => kind === found.kind && moment - from === found.before),
        JSON.stringify({ faults, moment, found }),
      );
    }
  }
});

test('a day of faults is looked through for each of a hundred thousand findings', { timeout: 60_000 }, () => {
  const faults = Array.from({ length: 300_000 }, (_, i) => fault('cut', i * 288, i * 288 + (i % 4000)));
  const nearest = new Nearest(faults);
  let hits = 0;
  for (let i = 0; i < 100_000; i++) if (nearest.to(i * 864)!.kind === 'cut') hits++;
  assert.equal(hits, 100_000);
});

test('of what a run of a day has lost all is counted, and the first thousand are named', () => {
  const count = 300_000;
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  const page = (index: number): unknown => ({
    ...{ index, user: 'u', name: `page ${index + 1} of u`, isBack: true, recoveries: [] },
    ...{ misdelivered: 0, damaged: 0, moreRepeats: 0 },
    sender: { acceptedAt: [0, ...numbers.map((n) => n * 10)] },
    // The latest first.
    review: () => ({
      ...{ promised: count, lost: new Set(index === 0 ? numbers.toReversed() : []), told: new Set() },
      ...{ duplicated: [], reordered: [count], resent: [], gaps: 0, vain: [] },
    }),
  });
  const result = judge({
    pages: [page(0), page(1)],
    senders: [{ counts: { accepted: count, repeated: 0, unanswered: 0 } }],
    faults: [fault('cut', 0, 0), { ...fault('slow', count * 5, count * 10), pages: [0, 1] }],
    ...{
      started: 0,
      begun: new Date(),
      seconds: 1,
      urls: [],
      victims: [],
      kinds: new Set(),
      time: 1,
      away: 0,
    },
    adapter: { name: 'x' },
  } as unknown as Outcome);
  assert.deepEqual([result.lost, result.reordered, result.verdict], [count, 2, 'failed']);
  assert.deepEqual(
    result.findings.map(({ n }) => n),
    numbers.slice(0, 1000),
  );
  const [cut, slow] = result.faults;
  assert.equal(cut!.lost + slow!.lost, count);
  assert.equal(slow!.reordered, 2);
  assert.ok(cut!.lost < slow!.lost);
});

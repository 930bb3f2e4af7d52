/** The figures of the report: statistics, latencies, targets, contents. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { test } from 'node:test';
import { buildContent } from '../../bench/load/content.ts';
import { Histogram } from '../../bench/load/histogram.ts';
import type { PeerResult, RowResult } from '../../bench/measure.ts';
import { allRows, shortRows } from '../../bench/rows.ts';
import { median, spread } from '../../bench/statistics.ts';
import { checkTargets, targets } from '../../bench/targets.ts';

test('the median of an even number is between the two in the middle', () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(spread([9, 11, 10]), 0.1);
});

test('a quantile is never below the value and at most 1/16 above it', () => {
  for (const value of [0.0001, 0.003, 0.02, 1, 17.3, 900, 30_000]) {
    const histogram = new Histogram();
    histogram.add(value, 99);
    histogram.add(value * 2, 1);
    const p50 = histogram.quantile(0.5);
    assert.ok(p50 > value - 0.0001 && p50 <= value * (1 + 1 / 16) + 0.0001, `${value}: ${p50}`);
    assert.ok(histogram.quantile(0.999) > 1.9 * value - 0.0001);
  }
});

test('every target is about a row of the table and peers that it runs', () => {
  for (const target of targets) {
    const row = allRows.find(({ id }) => id === target.row);
    assert.ok(row, `no row is called ${target.row}`);
    const named = [target.peer];
    if ('against' in target) named.push(...[target.against].flat());
    for (const peer of named) assert.ok(row.peers.includes(peer), `${target.row} does not run ${peer}`);
    if ('base' in target)
      assert.ok(
        allRows.some(({ id }) => id === target.base),
        `no row is called ${target.base}`,
      );
  }
});

test('rows have names of their own', () => {
  for (const list of [allRows, shortRows]) assert.equal(new Set(list.map(({ id }) => id)).size, list.length);
});

test('a target is reached from the ratio on that it names', () => {
  const row = allRows.find(({ id }) => id === 'echo-125-text-64x16')!;
  const peer = (name: string, cost: number): PeerResult => ({
    name,
    samples: [{ cost }],
    median: { cost },
    spread: 0,
    ratio: 28 / cost,
    ratioSpread: 0,
  });
  const judge = (cost: number) => {
    const result: RowResult = {
      row,
      peers: [peer('ws', 28), peer('net', 2), peer('tidings', cost)],
      noise: { median: 0, worst: 0 },
      notRun: [],
    };
    return checkTargets([result]).map(({ claim, reached }) => [claim, reached]);
  };
  assert.deepEqual(judge(2), [
    ['ws ÷ own ≥ 14', true],
    ['net ÷ own ≥ 1', true],
  ]);
  assert.deepEqual(judge(2.1), [
    ['ws ÷ own ≥ 14', false],
    ['net ÷ own ≥ 1', false],
  ]);
});

test('a limit is reached up to the figure that it names, and one without a figure is not', () => {
  const row = allRows.find(({ id }) => id === 'push-visit-32')!;
  const judge = (sample: PeerResult['median']) => {
    const peer = { name: 'push-tidings.1', samples: [sample], median: sample, spread: 0 };
    const peers = [{ ...peer, ratio: 1, ratioSpread: 0 }];
    const result: RowResult = { row, peers, noise: { median: 0, worst: 0 }, notRun: [] };
    return checkTargets([result]).map(({ claim, reached }) => [claim, reached]);
  };
  assert.deepEqual(judge({ cost: 120, roundTrips: 3 }), [
    ['≤ 120 µs', true],
    ['Redis asked ≤ 3 times', true],
  ]);
  assert.deepEqual(judge({ cost: 121 }), [
    ['≤ 120 µs', false],
    ['Redis asked ≤ 3 times', false],
  ]);
});

for (const kind of ['text', 'utf8', 'json', 'binary'] as const) {
  test(`${kind} messages have the size asked for, and each its number`, () => {
    for (const size of [16, 33, 125, 1024, 65536]) {
      if (kind === 'json' && size < 64) continue;
      const { expected, tags, tagAt, count, frames, frameLength } = buildContent(
        'websocket',
        kind,
        size,
        3,
        false,
      );
      assert.equal(new Set(tags).size, count);
      assert.equal(frames.length, (count + 3) * frameLength);
      for (const payload of expected) {
        assert.equal(payload.length, size);
        assert.ok(kind === 'binary' || isUtf8(payload));
        if (kind === 'json') assert.doesNotThrow(() => JSON.parse(payload.toString()));
      }
      assert.equal(expected[1]!.toString('latin1', tagAt, tagAt + 4), '0001');
    }
  });
}

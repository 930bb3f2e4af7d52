/** Metrics as they leave: the text, and those of several processes together. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { watchLoop } from '../../src/metrics/event-loop.ts';
import { counter, gauge } from '../../src/metrics/family.ts';
import { Histogram, histogram } from '../../src/metrics/histogram.ts';
import { mergeMetrics, metricsText, ProcessMetrics } from '../../src/metrics/index.ts';
import { processFamilies } from '../../src/metrics/process.ts';
import { VERSION } from '../../src/version.ts';
import { until } from '../support/net.ts';

test('the text has help and type of each family, and a line for each sample', () => {
  const text = metricsText([
    counter('tidings_a_total', 'Some \\ thing\nelse.', 3),
    gauge('tidings_b', 'B.', [
      [{ x: 'a"b\\c\nd', y: '1' }, 0.5],
      [{ x: 'e', y: '2' }, 1e21],
    ]),
  ]);
  assert.equal(
    text,
    [
      '# HELP tidings_a_total Some \\\\ thing\\nelse.',
      '# TYPE tidings_a_total counter',
      'tidings_a_total 3',
      '# HELP tidings_b B.',
      '# TYPE tidings_b gauge',
      'tidings_b{x="a\\"b\\\\c\\nd",y="1"} 0.5',
      'tidings_b{x="e",y="2"} 1e+21',
      '',
    ].join('\n'),
  );
});

test('a histogram counts up to and including each bound, and tells seconds', () => {
  const delays = new Histogram([1, 10, 100]);
  for (const milliseconds of [0, 1, 1.5, 10, 100, 101, 1e9]) delays.observe(milliseconds);
  delays.observe(50, 3);
  const text = metricsText([histogram('tidings_d_seconds', 'D.', [[{ way: 'a' }, delays]])]);
  assert.deepEqual(text.split('\n').slice(2, -1), [
    'tidings_d_seconds_bucket{way="a",le="0.001"} 2',
    'tidings_d_seconds_bucket{way="a",le="0.01"} 4',
    'tidings_d_seconds_bucket{way="a",le="0.1"} 8',
    'tidings_d_seconds_bucket{way="a",le="+Inf"} 10',
    `tidings_d_seconds_sum{way="a"} ${(0 + 1 + 1.5 + 10 + 100 + 101 + 1e9 + 150) / 1000}`,
    'tidings_d_seconds_count{way="a"} 10',
  ]);
});

test('several processes have together the sum of counters, gauges and histograms, by their labels', () => {
  const worker = (n: number) => {
    const delays = new Histogram([1000]);
    delays.observe(n * 1000);
    return [
      counter('tidings_a_total', 'A.', [
        [{ x: '1', y: '2' }, n],
        [{ x: `only ${n}`, y: '' }, n],
      ]),
      histogram('tidings_d_seconds', 'D.', [[{}, delays]]),
      gauge('tidings_worst', 'W.', n, 'max'),
      gauge('tidings_up', 'U.', n, 'min'),
    ];
  };
  const parts = [worker(1), worker(2), JSON.parse(JSON.stringify(worker(40)))];
  const before = structuredClone(parts);
  const lines = metricsText(mergeMetrics(parts)).split('\n');
  assert.deepEqual(parts, before);
  assert.deepEqual(
    lines.filter((line) => line !== '' && !line.startsWith('#')),
    [
      'tidings_a_total{x="1",y="2"} 43',
      'tidings_a_total{x="only 1",y=""} 1',
      'tidings_a_total{x="only 2",y=""} 2',
      'tidings_a_total{x="only 40",y=""} 40',
      'tidings_d_seconds_bucket{le="1"} 1',
      'tidings_d_seconds_bucket{le="+Inf"} 3',
      'tidings_d_seconds_sum 43',
      'tidings_d_seconds_count 3',
      'tidings_worst 40',
      'tidings_up 1',
    ],
  );
  assert.deepEqual(mergeMetrics([]), []);
});

test('labels in another order are the same, and what has another type is left out', () => {
  const merged = mergeMetrics([
    [gauge('tidings_a', 'A.', [[{ x: '1', y: '2' }, 1]])],
    [gauge('tidings_a', 'A.', [[{ y: '2', x: '1' }, 1]])],
    [counter('tidings_a', 'A.', [[{ x: '1', y: '2' }, 100]])],
  ]);
  assert.deepEqual(
    merged.map(({ samples }) => samples.map(({ value }) => value)),
    [[2]],
  );
});

test('what a process has counted stays when it ends or is silent; what it held does not', () => {
  const all = new ProcessMetrics();
  const tells = (name: string, n: number): void => {
    const delays = new Histogram([1000]);
    delays.observe(n * 1000);
    all.tell(name, [
      counter('tidings_a_total', 'A.', n),
      gauge('tidings_b', 'B.', n),
      histogram('tidings_d_seconds', 'D.', [[{}, delays]]),
    ]);
  };
  const seen = (): number[] =>
    ['tidings_a_total', 'tidings_b', 'tidings_d_seconds'].map(
      (name) =>
        all
          .families()
          .find((family) => family.name === name)
          ?.samples.at(-1)?.value ?? 0,
    );
  assert.deepEqual(all.families(), []);
  tells('one', 10);
  tells('two', 5);
  assert.deepEqual(seen(), [15, 15, 2]);
  // The second is silent.
  tells('one', 11);
  assert.deepEqual(seen(), [16, 16, 2]);
  all.ended('two');
  assert.deepEqual(seen(), [16, 11, 2]);
  tells('three', 1);
  all.ended('never there');
  all.ended('one');
  assert.deepEqual(seen(), [17, 1, 3]);
  all.ended('three');
  assert.deepEqual(seen(), [17, 0, 3]);
});

test('the version is that of the package', () => {
  assert.equal(VERSION, JSON.parse(readFileSync('package.json', 'utf8')).version);
});

test('a standstill of the event loop shows at once, as long as somebody looks', async () => {
  const delay = (): number =>
    processFamilies()
      .find(({ name }) => name === 'tidings_event_loop_delay_seconds')!
      .samples.find(({ labels }) => labels['stat'] === 'max')!.value;
  assert.equal(delay(), 0);
  const stops = [watchLoop(), watchLoop()];
  await until('a standstill to be seen', () => {
    const end = Date.now() + 60;
    while (Date.now() < end);
    return delay() > 0.03;
  });
  stops[0]!();
  stops[0]!();
  assert.ok(delay() > 0.03);
  stops[1]!();
  assert.equal(delay(), 0);
});

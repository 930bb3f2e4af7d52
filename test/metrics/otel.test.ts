/** The same metrics through the real SDK of OpenTelemetry. */
import assert from 'node:assert/strict';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import {
  AggregationTemporality,
  DataPointType,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import type { Family } from '../../src/metrics/index.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { Page, startPush } from '../push/support.ts';
import { until } from '../support/net.ts';

function telemetry() {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const provider = new MeterProvider({ readers: [reader] });
  const collect = async (): Promise<Map<string, MetricData>> => {
    exporter.reset();
    await reader.forceFlush();
    const all = exporter
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics.flatMap(({ metrics }) => metrics));
    return new Map(all.map((metric) => [metric.descriptor.name, metric]));
  };
  return { meter: provider.getMeter('test'), collect, end: () => provider.shutdown() };
}

const key = (labels: object): string => JSON.stringify(Object.entries(labels).sort());

/** What moves by itself. */
const OF_PROCESS = /^tidings_(?:event_loop|cpu|heap|external|resident)/;

function still(families: Family[]): string {
  return JSON.stringify(families.filter(({ name }) => !OF_PROCESS.test(name)));
}

function compare(families: Family[], collected: Map<string, MetricData>): void {
  // A histogram without values is not collected.
  const told = families.filter(
    ({ type, samples }) =>
      type !== 'histogram' || samples.some(({ suffix, value }) => suffix === '_count' && value > 0),
  );
  assert.deepEqual([...collected.keys()].sort(), told.map(({ name }) => name).sort());
  for (const { name, help, type, samples } of told) {
    const metric = collected.get(name)!;
    assert.equal(metric.descriptor.description, help);
    if (OF_PROCESS.test(name)) continue;
    if (metric.dataPointType === DataPointType.HISTOGRAM) {
      assert.equal(type, 'histogram');
      for (const { attributes, value } of metric.dataPoints) {
        const own = samples.filter(({ labels: { le: _, ...labels } }) => key(labels) === key(attributes));
        const of = (suffix: string) =>
          own.filter((sample) => sample.suffix === suffix).map((sample) => sample.value);
        assert.deepEqual([value.count], of('_count'), name);
        assert.ok(Math.abs(value.sum! - of('_sum')[0]!) < 1e-9, name);
        let sum = 0;
        assert.deepEqual(
          value.buckets.counts.map((count) => (sum += count)),
          of('_bucket'),
          name,
        );
      }
    } else {
      const points = metric.dataPoints.map(({ attributes, value }) => [key(attributes), value]);
      assert.deepEqual(points.sort(), samples.map(({ labels, value }) => [key(labels), value]).sort(), name);
      assert.equal(metric.dataPointType, type === 'counter' ? DataPointType.SUM : DataPointType.GAUGE, name);
      if (metric.dataPointType === DataPointType.SUM) assert.ok(metric.isMonotonic, name);
    }
  }
}

test('OpenTelemetry collects what metrics() tells: counters, gauges and histograms, until it is ended', async () => {
  const { meter, collect, end } = telemetry();
  // At once: what was before is in no histogram.
  const push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    interceptors: [queryUser('user')],
    authorize: { subscribe: () => true },
  });
  const stop = push.observeMetrics(meter);
  await push.ready;
  const url = `ws://127.0.0.1:${(push.address() as AddressInfo).port}/socketServer`;
  const pages = await Promise.all(
    [1, 2, 3].map((n) => Page.open(url, 'alice', { device: `d${n}`, topics: ['news'] })),
  );
  for (let i = 0; i < 3; i++) {
    await push.send('alice', i);
    await push.publish('news', i);
  }
  await until('all messages', () =>
    pages.every((page) => page.data().length + page.data('news').length === 6),
  );
  for (const page of pages) page.say({ type: 'ack', channel: 'inbox', position: page.position() });
  await until('all acknowledgements', () => pages.every((page) => page.frames('acked').length > 0));
  let collected = new Map<string, MetricData>();
  await until('a moment in which nothing is counted', async () => {
    const before = still(push.metrics());
    collected = await collect();
    return before === still(push.metrics());
  });
  compare(push.metrics(), collected);
  const writes = collected.get('tidings_publish_to_write_seconds')!;
  assert.deepEqual(
    writes.dataPoints.map(({ attributes, value }) => [attributes, (value as { count: number }).count]),
    [[{ source: 'live' }, 18]],
  );
  const other = telemetry();
  const stopOther = push.observeMetrics(other.meter, { histograms: false });
  assert.deepEqual(
    [...(await other.collect()).keys()].filter((name) => /publish_to|round_trip/.test(name)),
    [],
  );
  stopOther();
  stop();
  await push.send('alice', 'later');
  await until('a message more', () => pages.every((page) => page.data().length === 4));
  const left = (await collect()).get('tidings_publish_to_write_seconds');
  assert.equal((left?.dataPoints[0]?.value as { count: number } | undefined)?.count ?? 18, 18);
  await Promise.all([end(), other.end(), push.close()]);
});

test('a meter whose histograms throw loses no message, and a setting that there is not is refused', async () => {
  const { meter, end } = telemetry();
  const { push, url, log } = await startPush();
  const broken = new Proxy(meter, {
    get: (target, name) =>
      name === 'createHistogram'
        ? () => ({
            record: () => {
              throw new Error('no');
            },
          })
        : Reflect.get(target, name).bind(target),
  });
  push.observeMetrics(broken);
  const page = await Page.open(url, 'alice');
  await push.send('alice', 1);
  await until('the message', () => page.data().length === 1);
  assert.deepEqual(log, []);
  assert.throws(() => push.observeMetrics(meter, { histogram: true } as object), TypeError);
  await end();
});

/**
 * The same metrics as instruments of OpenTelemetry, for applications that have it. They hand in a meter, so nothing of
 * OpenTelemetry is loaded here; what is asked of a meter is said in types of our own, which those of `@opentelemetry/api` fit.
 */
import type { Family } from './family.ts';
import type { Histogram, LabelledHistogram } from './histogram.ts';

type Attributes = Record<string, string>;

/** What instruments are made with, as `MetricOptions` of `@opentelemetry/api`. */
export interface MeterOptions {
  /** What is measured. */
  description?: string;
  /** Such as `s` or `By`. */
  unit?: string;
  /** Upper bounds of a histogram's buckets. */
  advice?: { explicitBucketBoundaries?: number[] };
}

/** As much as is used of a `Meter` of `@opentelemetry/api`. @typeParam O its observable instruments */
export interface OtelMeter<O = never> {
  /** Makes an instrument for a number that only grows. */
  createObservableCounter(name: string, options?: MeterOptions): O;
  /** Makes an instrument for a number that goes up and down. */
  createObservableGauge(name: string, options?: MeterOptions): O;
  /** Makes an instrument for a distribution. */
  createHistogram(
    name: string,
    options?: MeterOptions,
  ): { record(value: number, attributes?: Attributes): void };
  /** Has these instruments observed by one call. */
  addBatchObservableCallback(callback: ObserveAll<O>, observables: O[]): void;
  /** Takes that back. */
  removeBatchObservableCallback(callback: ObserveAll<O>, observables: O[]): void;
}

type ObserveAll<O> = (result: {
  observe(instrument: O, value: number, attributes?: Attributes): void;
}) => void;

/** How much OpenTelemetry is told. */
export interface ObserveSettings {
  /**
   * Whether delays are recorded one by one as they come, which costs each message what the SDK takes for that; without,
   * there are no histograms. Default true.
   */
  histograms?: boolean;
}

/** What is observed. */
export interface Observed {
  families(): Family[];
  histograms(): { name: string; help: string; of: readonly LabelledHistogram[] }[];
}

/** @returns ends it */
export function observe<O>(
  observed: Observed,
  meter: OtelMeter<O>,
  { histograms = true }: ObserveSettings,
): () => void {
  const instruments = new Map<string, O>();
  for (const { name, help, type } of observed.families()) {
    const options = { description: help, ...unitOf(name) };
    if (type === 'counter') instruments.set(name, meter.createObservableCounter(name, options));
    else if (type === 'gauge') instruments.set(name, meter.createObservableGauge(name, options));
  }
  const all = [...instruments.values()];
  const callback: ObserveAll<O> = (result) => {
    for (const { name, samples } of observed.families()) {
      const instrument = instruments.get(name);
      if (instrument === undefined) continue;
      for (const { labels, value } of samples) result.observe(instrument, value, { ...labels });
    }
  };
  meter.addBatchObservableCallback(callback, all);
  const stops = histograms ? observed.histograms().map((each) => record(each, meter)) : [];
  return () => {
    meter.removeBatchObservableCallback(callback, all);
    for (const stop of stops) stop();
  };
}

function record<O>(
  { name, help, of }: ReturnType<Observed['histograms']>[number],
  meter: OtelMeter<O>,
): () => void {
  const [, first] = of[0]!;
  const instrument = meter.createHistogram(name, {
    description: help,
    ...unitOf(name),
    advice: { explicitBucketBoundaries: first.bounds },
  });
  const stops = of.map(([labels, histogram]) => tap(histogram, { ...labels }));
  return () => {
    for (const stop of stops) stop();
  };

  function tap(histogram: Histogram, attributes: Attributes): () => void {
    return histogram.tap((milliseconds, count) => {
      const value = milliseconds / 1000;
      try {
        for (let i = 0; i < count; i++) instrument.record(value, attributes);
      } catch {
        // What an SDK does is no reason to lose a message.
      }
    });
  }
}

function unitOf(name: string): { unit?: string } {
  if (/_seconds(?:_total)?$/.test(name)) return { unit: 's' };
  return /_bytes(?:_total)?$/.test(name) ? { unit: 'By' } : {};
}

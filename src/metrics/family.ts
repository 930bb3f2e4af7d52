/** Metrics as they leave: families of samples, in the model of Prometheus. How they are counted is each counter's own matter. */

export type MetricType = 'counter' | 'gauge' | 'histogram';

/** One number. */
export interface Sample {
  /** Names and values; empty where there is only one sample. */
  readonly labels: Readonly<Record<string, string>>;
  /** Finite, so that it survives JSON. */
  readonly value: number;
  /**
   * Of a histogram: which of its numbers this is. `_bucket` has the label `le`, and counts all that is not above it;
   * `_sum` and `_count` are over all buckets.
   */
  readonly suffix?: '_bucket' | '_sum' | '_count';
}

/** All samples of one name. It is plain data: it can go through JSON and between processes. */
export interface Family {
  /** Begins with `tidings_`; ends with its unit, in seconds or bytes, and `_total` for a counter. */
  readonly name: string;
  /** What it says, in one line. */
  readonly help: string;
  /** What its numbers are: one that only grows, one that goes up and down, or a distribution. */
  readonly type: MetricType;
  /** What several processes have together: the sum (the default), or the highest or lowest value. */
  readonly merge?: 'sum' | 'max' | 'min';
  /** Its numbers, one for each combination of labels. */
  readonly samples: readonly Sample[];
}

/** A value with its labels, as `counter` and `gauge` take them. */
export type Labelled = readonly [labels: Readonly<Record<string, string>>, value: number];

/** @param values one number, or one for each set of labels */
export function counter(name: string, help: string, values: number | readonly Labelled[]): Family {
  return { name, help, type: 'counter', samples: samplesOf(values) };
}

/** @param merge what several processes have together. Default: the sum */
export function gauge(
  name: string,
  help: string,
  values: number | readonly Labelled[],
  merge?: 'max' | 'min',
): Family {
  const family: Family = { name, help, type: 'gauge', samples: samplesOf(values) };
  return merge === undefined ? family : { ...family, merge };
}

function samplesOf(values: number | readonly Labelled[]): Sample[] {
  if (typeof values === 'number') return [{ labels: {}, value: values }];
  return values.map(([labels, value]) => ({ labels, value }));
}

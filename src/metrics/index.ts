/** Metrics for those who run a push server: what is counted, and the text that Prometheus reads. */
export type { Family, MetricType, Sample } from './family.ts';
export { mergeMetrics } from './merge.ts';
export type { MeterOptions, ObserveSettings, OtelMeter } from './otel.ts';
export { ProcessMetrics } from './processes.ts';
export { METRICS_TYPE, metricsText } from './text.ts';

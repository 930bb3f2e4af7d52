/** Metrics in Prometheus' text format 0.0.4. */
import type { Family } from './family.ts';

/** What `metricsText` is, for the header Content-Type. */
export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * The text that Prometheus reads: what `GET /metrics` answers, with `METRICS_TYPE`.
 *
 * @param families of one push server (`push.metrics()`), or of several processes (`mergeMetrics`)
 */
export function metricsText(families: readonly Family[]): string {
  let text = '';
  for (const { name, help, type, samples } of families) {
    text += `# HELP ${name} ${help.replace(/[\\\n]/g, escaped)}\n# TYPE ${name} ${type}\n`;
    for (const { labels, value, suffix = '' } of samples) {
      const pairs = Object.entries(labels).map(
        ([label, of]) => `${label}="${of.replace(/[\\\n"]/g, escaped)}"`,
      );
      text += `${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`;
    }
  }
  return text;
}

function escaped(character: string): string {
  return character === '\n' ? '\\n' : `\\${character}`;
}

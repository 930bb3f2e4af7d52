/** The metrics of several processes as those of one. */
import type { Family, Sample } from './family.ts';

/**
 * Adds up what the workers of one machine have counted: counters, gauges and histograms each by their labels. A few gauges
 * have no sum, such as the delay of the event loop: of those it is the highest or lowest value (`Family.merge`).
 *
 * @param parts what `push.metrics()` gave in each; nothing of it is changed
 */
export function mergeMetrics(parts: readonly (readonly Family[])[]): Family[] {
  const families = new Map<string, { family: Family; samples: Map<string, Sample> }>();
  for (const family of parts.flat()) {
    let known = families.get(family.name);
    if (known === undefined) {
      known = { family, samples: new Map() };
      families.set(family.name, known);
    }
    // Of another version, perhaps: what can't be added is left out.
    if (known.family.type !== family.type) continue;
    for (const sample of family.samples) {
      const key = `${sample.suffix ?? ''} ${JSON.stringify(Object.entries(sample.labels).sort())}`;
      const other = known.samples.get(key);
      const value = other === undefined ? sample.value : merged(family.merge, other.value, sample.value);
      known.samples.set(key, { ...sample, value });
    }
  }
  return [...families.values()].map(({ family, samples }) => ({ ...family, samples: [...samples.values()] }));
}

function merged(how: Family['merge'], a: number, b: number): number {
  if (how === 'max') return Math.max(a, b);
  return how === 'min' ? Math.min(a, b) : a + b;
}

/** Where a server's time went, out of the .cpuprofile that `node --cpu-prof` has written. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[];
  samples: number[];
  /** Microseconds from one sample to the next. */
  timeDeltas: number[];
}

/** The functions with the most time of their own, as lines; time spent idle is left out. */
export function summarizeProfile(folder: string, lines = 30): string {
  const file = readdirSync(folder)
    .filter((name) => name.endsWith('.cpuprofile'))
    .sort()
    .at(-1);
  if (file === undefined) return `no profile in ${folder}`;
  const { nodes, samples, timeDeltas } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as CpuProfile;
  const places = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const times = new Map<string, number>();
  let total = 0;
  for (let i = 0; i < samples.length; i++) {
    const place = places.get(samples[i]!)!;
    if (place === '(idle)') continue;
    const time = timeDeltas[i] ?? 0;
    total += time;
    times.set(place, (times.get(place) ?? 0) + time);
  }
  return [...times]
    .sort(([, a], [, b]) => b - a)
    .slice(0, lines)
    .map(([place, time]) => `${((100 * time) / total).toFixed(1).padStart(6)} %  ${place}`)
    .join('\n');
}

function placeOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const name = functionName || '(anonymous)';
  return url === '' ? name : `${name}  ${url.replace(/^.*\/(dist|node_modules)\//, '$1/')}:${lineNumber + 1}`;
}

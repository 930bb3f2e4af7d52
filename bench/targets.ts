/** Issue 4's targets, in one table, and what became of them in a run. */
import type { PeerResult, RowResult } from './measure.ts';

interface TargetOf {
  row: string;
  peer: string;
}
export type Target = TargetOf &
  (
    | { /** Cost of `against` ÷ own cost, at the least. */ against: string; ratio: number }
    | {
        /** Own cost at most that of `against` and so much more, in the row's unit. */ over: string;
        excess: number;
      }
    | { /** Own cost at most so many times the own cost in another row. */ base: string; factor: number }
    | { /** p50 and p99 at most those of another peer. */ latency: string }
  );

export interface CheckedTarget {
  row: string;
  peer: string;
  claim: string;
  value: string;
  reached: boolean;
}

const raw = 'tidings';
const embedded = 'tidings-embedded';

export const targets: Target[] = [
  { row: 'echo-125-text-64x1', peer: raw, against: 'ws', ratio: 1.5 },
  { row: 'echo-125-text-64x1', peer: embedded, against: 'ws', ratio: 1.4 },
  { row: 'echo-125-text-64x1', peer: raw, latency: 'ws' },
  { row: 'echo-125-text-1x1', peer: raw, latency: 'ws' },
  { row: 'echo-125-text-64x16', peer: raw, against: 'ws', ratio: 14 },
  { row: 'echo-125-text-64x16', peer: embedded, against: 'ws', ratio: 12 },
  { row: 'echo-125-text-64x16', peer: raw, against: 'net', ratio: 1 },
  { row: 'echo-1024-text-64x16', peer: raw, against: 'ws', ratio: 12 },
  { row: 'echo-1024-text-64x16', peer: embedded, against: 'ws', ratio: 10 },
  { row: 'echo-1024-text-64x16', peer: raw, against: 'net', ratio: 1 },
  { row: 'echo-65536-text-64x1', peer: raw, against: 'ws', ratio: 1.6 },
  { row: 'echo-65536-text-64x1', peer: raw, against: 'ws-js', ratio: 5.5 },
  { row: 'echo-65536-text-64x1', peer: raw, against: 'net', ratio: 1 },
  { row: 'echo-1048576-binary-1x1', peer: raw, against: 'ws', ratio: 1.1 },
  { row: 'echo-1048576-binary-64x1', peer: raw, against: 'ws', ratio: 1.25 },
  { row: 'broadcast-128-text-1000x1', peer: raw, against: 'ws', ratio: 1.35 },
  { row: 'broadcast-128-text-1000x16', peer: raw, against: 'ws', ratio: 23 },
  { row: 'broadcast-128-text-10000x4', peer: raw, against: 'ws', ratio: 5.1 },
  { row: 'broadcast-1024-json-1000x1-deflate', peer: raw, against: 'ws', ratio: 50 },
  { row: 'broadcast-1024-json-1000x1-deflate', peer: raw, base: 'broadcast-1024-json-1000x1', factor: 1.3 },
  { row: 'handshakes-64', peer: raw, against: 'ws', ratio: 1.6 },
  { row: 'handshakes-64', peer: embedded, against: 'ws', ratio: 1.35 },
  { row: 'idle-10000', peer: raw, over: 'net', excess: 1.5 },
  { row: 'idle-10000', peer: raw, against: 'ws', ratio: 1 },
];

/** Those of the targets whose row and peers have been measured. */
export function checkTargets(results: RowResult[]): CheckedTarget[] {
  const find = (row: string, peer: string): PeerResult | undefined =>
    results
      .find((result) => result.row.id === row)
      ?.peers.find(({ name, samples }) => name === peer && samples.length > 0);
  return targets.flatMap((target) => {
    const own = find(target.row, target.peer);
    const other = find('base' in target ? target.base : target.row, otherPeer(target));
    const unit = results.find((result) => result.row.id === target.row)?.row.unit;
    if (!own || !other) return [];
    return [{ row: target.row, peer: target.peer, ...judge(target, own, other, unit ?? '') }];
  });
}

function otherPeer(target: Target): string {
  if ('against' in target) return target.against;
  if ('over' in target) return target.over;
  if ('latency' in target) return target.latency;
  return target.peer;
}

function judge(
  target: Target,
  own: PeerResult,
  other: PeerResult,
  unit: string,
): Omit<CheckedTarget, 'row' | 'peer'> {
  const ratio = other.median.cost / own.median.cost;
  if ('against' in target) {
    // Against the reference the ratio of each round is known, and its median steadier.
    const value = target.against === 'ws' ? own.ratio : ratio;
    return {
      claim: `${target.against} ÷ own ≥ ${target.ratio}`,
      value: value.toFixed(2),
      reached: value >= target.ratio,
    };
  }
  if ('over' in target) {
    const value = own.median.cost - other.median.cost;
    return {
      claim: `over ${target.over} ≤ ${target.excess} ${unit}`,
      value: value.toFixed(2),
      reached: value <= target.excess,
    };
  }
  if ('base' in target) {
    return {
      claim: `≤ ${target.factor} × ${target.base}`,
      value: (1 / ratio).toFixed(2),
      reached: 1 / ratio <= target.factor,
    };
  }
  const { p50, p99 } = own.median;
  return {
    claim: `p50 and p99 ≤ ${target.latency}`,
    value: `${micro(p50)} / ${micro(p99)} against ${micro(other.median.p50)} / ${micro(other.median.p99)} µs`,
    reached: p50 <= other.median.p50 && p99 <= other.median.p99,
  };
}

function micro(milliseconds: number): string {
  return (milliseconds * 1000).toFixed(0);
}

/** The targets of all rows, in one table, and what became of them in a run. */
import { type PeerResult, type RowResult, ratiosTo } from './measure.ts';
import type { Row } from './rows.ts';
import { median } from './statistics.ts';

interface TargetOf {
  row: string;
  peer: string;
}
export type Target = TargetOf &
  (
    | { /** Cost of `against` ÷ own cost, at the least. */ against: string | string[]; ratio: number }
    | {
        /** Own cost at most that of `against` and so much more, in the row's unit. */ over: string;
        excess: number;
      }
    | { /** Own cost at most so many times the own cost in another row. */ base: string; factor: number }
    | { /** Own cost at most so much above the own cost in another row. */ base: string; excess: number }
    | { /** Own rate at least this part of another's. */ rateOf: string; part: number }
    | { /** Own cost at most so much, in the row's unit. */ most: number }
    | { /** Redis is asked at most so often for a page. */ roundTrips: number }
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
const events = 'tidings-events';
const plain = 'push-plain';
const recovering = 'push-tidings.1';
const quiet = 'push-tidings.1-quiet';

export const targets: Target[] = [
  { row: 'events-125-text-64x1', peer: events, against: 'ws', ratio: 1.45 },
  { row: 'events-125-text-64x16', peer: events, against: 'ws', ratio: 12 },
  { row: 'events-65536-text-64x1', peer: events, against: 'ws', ratio: 2.1 },
  { row: 'events-1048576-binary-1x1', peer: events, against: 'ws', ratio: 1.3 },
  { row: 'events-1048576-binary-64x1', peer: events, against: 'ws', ratio: 1.3 },
  { row: 'events-1048576-binary-1x1', peer: raw, against: 'ws', ratio: 1.7 },
  { row: 'events-1048576-binary-64x1', peer: raw, against: 'ws', ratio: 1.7 },
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
  { row: 'broadcast-1024-json-1000x16-deflate', peer: raw, against: 'ws', ratio: 50 },
  { row: 'broadcast-1024-json-1000x1-deflate', peer: raw, base: 'broadcast-1024-json-1000x1', factor: 1.3 },
  { row: 'handshakes-64', peer: raw, against: 'ws', ratio: 1.6 },
  { row: 'handshakes-64', peer: embedded, against: 'ws', ratio: 1.35 },
  { row: 'idle-10000', peer: raw, over: 'net', excess: 1.5 },
  { row: 'idle-10000', peer: raw, against: 'ws', ratio: 1 },
  { row: 'idle-10000-deflate', peer: raw, base: 'idle-10000', excess: 0.5 },
  {
    row: 'resp-publish-1000',
    peer: raw,
    against: ['ioredis', 'ioredis-auto', 'ioredis-pipeline', 'node-redis'],
    ratio: 6,
  },
  { row: 'resp-publish-1000', peer: raw, rateOf: 'redis-benchmark', part: 0.6 },
  { row: 'resp-receive-1000', peer: raw, against: ['ioredis', 'node-redis'], ratio: 2.5 },
  { row: 'push-user-1000', peer: plain, most: 12 },
  { row: 'push-user-1000', peer: plain, against: 'ws+ioredis', ratio: 1 },
  { row: 'push-user-1000', peer: quiet, most: 12 },
  { row: 'push-user-1000', peer: quiet, against: 'ws+ioredis', ratio: 1 },
  { row: 'push-life-1000', peer: 'push-marks', against: quiet, ratio: 0.91 },
  { row: 'push-life-1000', peer: 'push-ttl', against: quiet, ratio: 0.91 },
  { row: 'push-life-1000', peer: 'push-keys', against: quiet, ratio: 0.91 },
  { row: 'push-rest-10000', peer: recovering, most: 8.5 },
  { row: 'push-visit-32', peer: recovering, most: 120 },
  { row: 'push-visit-32', peer: recovering, roundTrips: 3 },
];

/** Those of the targets whose row and peers have been measured. */
export function checkTargets(results: RowResult[]): CheckedTarget[] {
  const find = (id: string, peer: string): PeerResult | undefined =>
    results
      .find(({ row }) => row.id === id)
      ?.peers.find(({ name, samples }) => name === peer && samples.length > 0);
  return targets.flatMap((target) => {
    const { row, peer } = target;
    const own = find(row, peer);
    const others = otherPeers(target).map((name) => find('base' in target ? target.base : row, name));
    if (!own || others.some((other) => other === undefined)) return [];
    const measured = results.find((result) => result.row.id === row)!.row;
    return [{ row, peer, ...judge(target, own, others as PeerResult[], measured) }];
  });
}

function otherPeers(target: Target): string[] {
  if ('against' in target) return [target.against].flat();
  if ('over' in target) return [target.over];
  if ('latency' in target) return [target.latency];
  if ('rateOf' in target) return [target.rateOf];
  return [target.peer];
}

function judge(
  target: Target,
  own: PeerResult,
  others: PeerResult[],
  { unit, reference }: Row,
): Omit<CheckedTarget, 'row' | 'peer'> {
  const other = others.toSorted((a, b) => a.median.cost - b.median.cost)[0]!;
  const excess = own.median.cost - other.median.cost;
  if ('against' in target) {
    // The reference has run twice in each round.
    const value = target.against === reference ? own.ratio : median(ratiosTo(other, own));
    return {
      claim: `${other.name} ÷ own ≥ ${target.ratio}`,
      value: value.toFixed(2),
      reached: value >= target.ratio,
    };
  }
  if ('excess' in target) {
    const above = 'over' in target ? target.over : `own ${target.base}`;
    return {
      claim: `above ${above} by ≤ ${target.excess} ${unit}`,
      value: excess.toFixed(2),
      reached: excess <= target.excess,
    };
  }
  if ('base' in target) {
    const factor = own.median.cost / other.median.cost;
    return {
      claim: `own ${target.base} × ≤ ${target.factor}`,
      value: factor.toFixed(2),
      reached: factor <= target.factor,
    };
  }
  if ('rateOf' in target) {
    const part = own.median.rate! / other.median.rate!;
    return {
      claim: `rate ÷ ${other.name}'s ≥ ${target.part}`,
      value: part.toFixed(2),
      reached: part >= target.part,
    };
  }
  if ('most' in target) {
    const { cost } = own.median;
    return { claim: `≤ ${target.most} ${unit}`, value: cost.toFixed(1), reached: cost <= target.most };
  }
  if ('roundTrips' in target) {
    const { roundTrips = Number.POSITIVE_INFINITY } = own.median;
    return {
      claim: `Redis asked ≤ ${target.roundTrips} times`,
      value: roundTrips.toFixed(1),
      reached: roundTrips <= target.roundTrips,
    };
  }
  const { p50 = 0, p99 = 0 } = own.median;
  const { p50: otherP50 = 0, p99: otherP99 = 0 } = other.median;
  return {
    claim: `p50 and p99 ≤ ${other.name}`,
    value: `${micro(p50)} / ${micro(p99)} against ${micro(otherP50)} / ${micro(otherP99)} µs`,
    reached: p50 <= otherP50 && p99 <= otherP99,
  };
}

function micro(milliseconds: number): string {
  return (milliseconds * 1000).toFixed(0);
}

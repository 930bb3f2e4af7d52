/** Offsets, each range from the first to the last, as the wire has them: here in any order, and they may overlap. */
import type { WireRanges } from '../push/talk/wire.ts';

export type Ranges = WireRanges;

export function includes(ranges: Ranges, offset: number): boolean {
  return ranges.some(([first, last]) => first <= offset && offset <= last);
}

export function without(ranges: Ranges, others: Ranges): Ranges {
  let left = ranges;
  for (const [from, to] of others)
    left = left.flatMap(([first, last]) =>
      [[first, Math.min(last, from - 1)] as const, [Math.max(first, to + 1), last] as const].filter(
        ([one, other]) => one <= other,
      ),
    );
  return left;
}

/** How many offsets from `first` to `last` are in none of these. */
export function outside(first: number, last: number, ...ranges: Ranges[]): number {
  let count = 0;
  let next = first;
  for (const [from, to] of [...ranges.flat().sort(([a], [b]) => a - b), [last + 1, last] as const]) {
    count += Math.max(0, Math.min(from, last + 1) - next);
    next = Math.max(next, to + 1);
  }
  return count;
}

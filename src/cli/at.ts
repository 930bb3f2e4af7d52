/** `--at`: a moment, or how long from now. */
import { timeIn } from '../admin/time.ts';
import { once, text, UsageError } from './options.ts';

const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export const atOption = once(
  text('TIME', 'Not now, but then: 2026-12-24T18:00:00Z, or +90s, +10m, +2h, +1d from now'),
);

/** Milliseconds since 1970. @throws {UsageError} for what is no time */
export function parseAt(text: string): number {
  const [, number, unit] = /^\+(\d{1,9})([smhd])$/.exec(text) ?? [];
  if (number !== undefined) return Date.now() + Number(number) * UNITS[unit!]!;
  const time = timeIn(text);
  if (!Number.isNaN(time)) return time;
  throw new UsageError(`--at '${text}' is no time such as 2026-12-24T18:00:00Z, +10m, +2h or +1d`);
}

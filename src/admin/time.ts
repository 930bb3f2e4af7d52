/** Moments as people write them. */
const ISO = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/i;

/** Milliseconds since 1970 of a time such as 2026-12-24T18:00:00Z. NaN for all else, of much of which Date.parse makes a time. */
export function timeIn(text: string): number {
  if (!ISO.test(text)) return Number.NaN;
  const day = text.slice(0, 10);
  const midnight = Date.parse(`${day}T00:00Z`);
  // A 31st of February would be one of March.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return Number.NaN;
  return Date.parse(text);
}

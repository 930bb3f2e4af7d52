/** How frames become text, also in a page where an old library has given arrays a `toJSON` that makes text of them. */

/** @throws {TypeError} for what JSON can't say */
export function encode(value: object): string {
  return JSON.stringify(value, ([] as { toJSON?: undefined }).toJSON && asItIs);
}

function asItIs(this: Record<string, unknown>, key: string, value: unknown): unknown {
  return Array.isArray(this[key]) ? this[key] : value;
}

/** Text in PostgreSQL, which can't hold U+0000: names and keys may, and go there and back by these. */

const ESCAPE = '\u0001';

export function toText(value: string): string {
  if (!/[\0\u0001]/.test(value)) return value;
  return value.replaceAll(ESCAPE, `${ESCAPE}1`).replaceAll('\0', `${ESCAPE}0`);
}

export function fromText(text: string): string {
  if (!text.includes(ESCAPE)) return text;
  return text.replaceAll(`${ESCAPE}0`, '\0').replaceAll(`${ESCAPE}1`, ESCAPE);
}

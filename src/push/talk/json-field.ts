/**
 * Cuts the text of one field out of a JSON object. What others have written as JSON is handed on as it came: reading and
 * writing it again would change numbers that JavaScript can't hold.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
/** Of `[` and `{`, and of `]` and `}`: without the bit in which they differ. */
const OPENING = 0x5b;
const CLOSING = 0x5d;
const BRACE = 0x20;
/** `]`. */
const BRACKET = 0x5d;

/**
 * The text of the field with this name, as it stands there; of several, the last, as JSON.parse has it. `undefined` where
 * there is none.
 *
 * @param text an object that JSON.parse takes: nothing of that is checked again
 */
export function textOfField(text: string, name: string): string | undefined {
  let found: string | undefined;
  let at = afterSpace(text, text.indexOf('{') + 1);
  while (text.charCodeAt(at) === QUOTE) {
    const colon = afterString(text, at);
    const isNamed = isName(text.slice(at, colon), name);
    const start = afterSpace(text, text.indexOf(':', colon) + 1);
    const end = afterValue(text, start);
    if (isNamed) found = text.slice(start, end);
    at = afterSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = afterSpace(text, at + 1);
  }
  return found;
}

/** The texts of the elements of an array, as they stand there. @param text an array that JSON.parse takes */
export function textsOfElements(text: string): string[] {
  const found: string[] = [];
  let at = afterSpace(text, text.indexOf('[') + 1);
  while (text.charCodeAt(at) !== BRACKET) {
    const end = afterValue(text, at);
    found.push(text.slice(at, end));
    at = afterSpace(text, end);
    if (text.charCodeAt(at) === COMMA) at = afterSpace(text, at + 1);
  }
  return found;
}

/** @param quoted as it stands in the text, perhaps with escapes */
function isName(quoted: string, name: string): boolean {
  return quoted.includes('\\') ? JSON.parse(quoted) === name : quoted.slice(1, -1) === name;
}

function afterSpace(text: string, from: number): number {
  let at = from;
  while (isSpace(text.charCodeAt(at))) at++;
  return at;
}

function isSpace(unit: number): boolean {
  return unit === 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09;
}

/** Behind the closing quote of the string that begins here. */
function afterString(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); ; at = text.indexOf('"', at + 1)) {
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === BACKSLASH) escapes++;
    if (escapes % 2 === 0) return at + 1;
  }
}

/** Behind the value that begins here. */
function afterValue(text: string, from: number): number {
  let at = from;
  let depth = 0;
  do {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) at = afterString(text, at);
    else {
      at++;
      if ((unit & ~BRACE) === OPENING) depth++;
      else if ((unit & ~BRACE) === CLOSING) depth--;
      // A number or a word goes on to whatever ends it.
      else if (depth === 0) while (at < text.length && !ends(text.charCodeAt(at))) at++;
    }
  } while (depth > 0);
  return at;
}

function ends(unit: number): boolean {
  return unit === COMMA || (unit & ~BRACE) === CLOSING || isSpace(unit);
}

/** Tokens and lists of tokens of HTTP (RFC 9110 §5.6.2), which the opening handshake is made of. */

const tokenChars = new Uint8Array(128);
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  tokenChars[char.charCodeAt(0)] = 1;
}

/** @param code a character's code; NaN, as behind a string's end, is no token character */
export function isTokenChar(code: number): boolean {
  return tokenChars[code] === 1;
}

export function isToken(text: string): boolean {
  for (let at = 0; at < text.length; at++) {
    if (!isTokenChar(text.charCodeAt(at))) return false;
  }
  return text.length > 0;
}

/** The elements of a comma-separated list without the space around them; empty ones are kept, for the caller to judge. */
export function splitList(header: string): string[] {
  return header.split(',').map(trimSpace);
}

/** Whether a list holds the token, in any case. */
export function hasToken(header: string, token: string): boolean {
  return splitList(header).some((element) => element.toLowerCase() === token);
}

// Not String.prototype.trim, which takes more than HTTP's two kinds of space, nor a pattern, which may backtrack.
function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

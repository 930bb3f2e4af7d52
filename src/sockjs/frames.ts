/**
 * SockJS framing (protocol 0.3.3, "Framing accepted by the client"): `o` open, `h` heartbeat,
 * `a[…]` an array of messages, `c[code,"reason"]` close.
 */

export const OPEN = 'o';
export const HEARTBEAT = 'h';

// Browsers and proxies mangle these on one transport or another, so they travel escaped on all of them.
const MANGLED = /[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff]/g;

/** One message as a JSON string, lone surrogates and what browsers mangle as `\uXXXX` in lower case. */
export function quote(message: string): string {
  return JSON.stringify(message).replace(
    MANGLED,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** @param quoted messages that went through `quote` */
export function messages(quoted: string[]): string {
  return `a[${quoted.join(',')}]`;
}

export function close(code: number, reason: string): string {
  return `c[${code},${quote(reason)}]`;
}

/** What a client sent, or why it is not a list of messages: `xhr_send`, `jsonp_send` and websocket alike. */
export type Received = { messages: string[] } | { error: 'Payload expected.' | 'Broken JSON encoding.' };

/** Reads an array of strings; over a WebSocket one string alone is allowed too. */
export function parse(text: string, allowSingle = false): Received {
  if (text === '') return { error: 'Payload expected.' };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The protocol has these words for it, and no others.
    return { error: 'Broken JSON encoding.' };
  }
  if (allowSingle && typeof value === 'string') return { messages: [value] };
  if (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) return { messages: value };
  return { error: 'Broken JSON encoding.' };
}

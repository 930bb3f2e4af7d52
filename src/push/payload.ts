/** What an application's data is in the store, and back. */
import type { PayloadKind, StoredKind } from '../pubsub/store/broker.ts';

export interface Payload {
  kind: PayloadKind;
  bytes: Buffer;
}

/**
 * JSON that another program has written, to be stored as it is: reading and writing it again would change numbers that
 * JavaScript can't hold.
 */
export class JsonText {
  readonly text: string;
  /**
   * @param isChecked whether it is known to be JSON
   * @throws {SyntaxError} if it is none
   */
  constructor(text: string, isChecked = false) {
    if (!isChecked) JSON.parse(text);
    this.text = text.trim();
  }
}

/**
 * The same data for `encodeData`, as it is now: whatever the application does to it later.
 *
 * @throws as `encodeData`
 */
export function keptData(data: unknown): string | Uint8Array | JsonText {
  if (typeof data === 'string' || data instanceof JsonText) return data;
  return data instanceof Uint8Array ? Buffer.from(data) : new JsonText(jsonOf(data), true);
}

/** @throws {TypeError} for what JSON has no form of, and what a `toJSON` or a getter throws */
export function encodeData(data: unknown): Payload {
  if (typeof data === 'string') return { kind: 'text', bytes: Buffer.from(data) };
  if (data instanceof Uint8Array) {
    return { kind: 'binary', bytes: Buffer.from(data.buffer, data.byteOffset, data.byteLength) };
  }
  if (data instanceof JsonText) {
    // A string is text whoever sends it, as plain pages get it without quotes.
    return data.text.startsWith('"')
      ? { kind: 'text', bytes: Buffer.from(JSON.parse(data.text) as string) }
      : { kind: 'json', bytes: Buffer.from(data.text) };
  }
  return { kind: 'json', bytes: Buffer.from(jsonOf(data)) };
}

/** @throws {TypeError} for what JSON has no form of, and what a `toJSON` or a getter throws */
function jsonOf(data: unknown): string {
  const json = JSON.stringify(data) as string | undefined;
  if (json === undefined) throw new TypeError(`data of type ${typeof data} has no form in JSON`);
  return json;
}

/** What was given to `encodeData`; null for what is gone. */
export function decodeData(kind: StoredKind, bytes: Buffer): unknown {
  if (kind === 'gone') return null;
  if (kind === 'binary') return bytes;
  const text = bytes.toString();
  return kind === 'json' ? parsed(text) : text;
}

/** What becomes of data. */
export type Decode = typeof decodeData;

/** The same, but JSON as it came. */
export function asItCame(kind: StoredKind, bytes: Buffer): unknown {
  if (kind !== 'json') return decodeData(kind, bytes);
  try {
    return new JsonText(bytes.toString());
  } catch {
    // As below.
    return bytes.toString();
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Other programs may call JSON what is none: it is text then.
    return text;
  }
}

/**
 * How the Redis broker names and writes things: keys, channels on the bus, doorbells. Other programs may rely
 * on `<prefix>:<channel>` as the channel to PUBLISH to; all else is the broker's own.
 */
import { createHash } from 'node:crypto';
import type { Cursor, PayloadKind, StoredMessage } from './broker.ts';

/**
 * What begins a doorbell: bytes that no program publishes by chance, then which kind. Everything else on a
 * channel is a transient payload.
 */
export const MESSAGE_MAGIC = '\0tidings:m ';
export const ACK_MAGIC = '\0tidings:a ';
const MAGIC_LENGTH = MESSAGE_MAGIC.length;
const MAGIC = Buffer.from(MESSAGE_MAGIC.slice(0, -2));
const MESSAGE_LETTER = 109;

const KIND_LETTERS = { text: 't', json: 'j', binary: 'b', reference: 'r' } as const;
const KINDS: Record<string, PayloadKind> = { t: 'text', j: 'json', b: 'binary', r: 'reference' };

export const letterOf = (kind: PayloadKind): string => KIND_LETTERS[kind];
export const kindOf = (letter: string): PayloadKind => KINDS[letter] ?? 'binary';

/** The keys and the bus channel of one channel. In a Cluster they all fall into one slot. */
export class ChannelKeys {
  readonly #name: string;

  /** @param database number for SELECT. Keys belong to it; channels on the bus reach all, so its number is in theirs */
  constructor(prefix: string, channel: string, database = 0) {
    this.#name = busName(prefix, channel);
    this.bus = database === 0 ? this.#name : busName(`${prefix}/${database}`, channel);
  }

  /** The channel to SUBSCRIBE and PUBLISH to. */
  readonly bus: string;

  /** A hash: the epoch, the newest position, and what retention needs. */
  get meta(): string {
    return `{${this.#name}}:meta`;
  }

  /** A stream: the retained messages, each with its offset as the first part of its id. */
  get log(): string {
    return `{${this.#name}}:log`;
  }

  /** A hash of devices. */
  get cursors(): string {
    return `{${this.#name}}:cursors`;
  }

  /** Written to wait for replicas (replication.ts). */
  get mark(): string {
    return `{${this.#name}}:mark`;
  }

  /** Where the receipt for an idempotency key is kept. A long key is kept as its digest. */
  receipt(key: string): string {
    const name = key.length <= 64 ? `k:${key}` : `h:${createHash('sha256').update(key).digest('base64url')}`;
    return `{${this.#name}}:once:${name}`;
  }
}

/** The hash of a user's sessions. */
export function presenceKey(prefix: string, user: string): string {
  return `{${busName(prefix, `user:${user}`)}}:presence`;
}

/**
 * Braces would move a key to another slot than the channel of the same name, so they are percent-encoded,
 * and with them the percent sign.
 */
function busName(prefix: string, channel: string): string {
  return `${prefix}:${ODD.test(channel) ? channel.replace(EVERY_ODD, encodeURIComponent) : channel}`;
}
const ODD = /[{}%]/;
const EVERY_ODD = /[{}%]/g;

/**
 * What came over the bus for `channel` as bytes[start, end): a stored message, an acknowledgement, `undefined` for
 * a payload that is not a doorbell, `null` for a doorbell that can't be read. Nothing of it is a view of `bytes`.
 */
export function decodeDoorbell(
  channel: string,
  bytes: Buffer,
  start: number,
  end: number,
): StoredMessage | Cursor | null | undefined {
  for (let i = 0; i < MAGIC.length; i++) if (bytes[start + i] !== MAGIC[i]) return undefined;
  let line = start + MAGIC_LENGTH;
  while (line < end && bytes[line] !== 10) line++;
  if (line >= end) return null;
  const [epoch, offset, id, time, kind] = bytes.toString('latin1', start + MAGIC_LENGTH, line).split(' ');
  if (!epoch || !id || !(Number.isSafeInteger(Number(offset)) && Number(offset) > 0)) return null;
  const position = { epoch, offset: Number(offset), id };
  if (bytes[start + MAGIC.length] === MESSAGE_LETTER) {
    if (!Number.isFinite(Number(time))) return null;
    return {
      channel,
      ...position,
      time: Number(time),
      kind: kindOf(kind ?? ''),
      payload: copyOf(bytes, line + 1, end),
    };
  }
  return { channel, device: bytes.toString('utf8', line + 1, end), position };
}

export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

export function isCursor(doorbell: StoredMessage | Cursor): doorbell is Cursor {
  return 'device' in doorbell;
}

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
  /** The channel to SUBSCRIBE and PUBLISH to. */
  readonly bus: string;
  readonly meta: string;
  readonly log: string;
  readonly cursors: string;

  constructor(prefix: string, channel: string) {
    this.bus = busName(prefix, channel);
    this.meta = `{${this.bus}}:meta`;
    this.log = `{${this.bus}}:log`;
    this.cursors = `{${this.bus}}:cursors`;
  }

  /** Where the receipt for an idempotency key is kept. A long key is kept as its digest. */
  receipt(key: string): string {
    const name = key.length <= 64 ? `k:${key}` : `h:${createHash('sha256').update(key).digest('base64url')}`;
    return `{${this.bus}}:once:${name}`;
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
  return `${prefix}:${channel.replace(/[{}%]/g, encodeURIComponent)}`;
}

/**
 * What came over the bus for `channel`: a stored message, an acknowledgement, or undefined for a payload that
 * is not ours. `payload` is copied from.
 */
export function decodeDoorbell(channel: string, payload: Buffer): StoredMessage | Cursor | undefined {
  if (payload[0] !== 0 || payload.length < MAGIC_LENGTH) return undefined;
  for (let i = 1; i < MAGIC.length; i++) if (payload[i] !== MAGIC[i]) return undefined;
  const end = payload.indexOf(10, MAGIC_LENGTH);
  if (end === -1) return undefined;
  const [epoch, offset, id, time, kind] = payload.toString('latin1', MAGIC_LENGTH, end).split(' ');
  if (payload[MAGIC_LENGTH - 2] === MESSAGE_LETTER) {
    return {
      channel,
      epoch: epoch!,
      offset: Number(offset),
      id: id ?? '',
      time: Number(time),
      kind: kindOf(kind ?? ''),
      payload: Buffer.from(payload.subarray(end + 1)),
    };
  }
  const position = { epoch: epoch!, offset: Number(offset), id: id ?? '' };
  return { channel, device: payload.toString('utf8', end + 1), position };
}

export function isCursor(doorbell: StoredMessage | Cursor): doorbell is Cursor {
  return 'device' in doorbell;
}

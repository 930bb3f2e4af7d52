/**
 * How the Redis broker names and writes things: keys, channels on the bus, entries. Other programs may rely
 * on `<prefix>:<channel>` as the channel to PUBLISH to; all else is the broker's own.
 */
import { createHash } from 'node:crypto';
import { RedisReplyError } from '../redis/errors.ts';
import { slotOf } from '../redis/slots.ts';
import type { PayloadKind, Position, StoredMessage } from './broker.ts';
import { EPOCH_LENGTH } from './epochs.ts';
import { expiryOf } from './marks.ts';

const KIND_LETTERS = { text: 't', json: 'j', binary: 'b', reference: 'r', gone: 'g' } as const;
/** By the code of its letter. */
const KINDS: StoredMessage['kind'][] = [];
for (const [kind, letter] of Object.entries(KIND_LETTERS)) {
  KINDS[letter.charCodeAt(0)] = kind as StoredMessage['kind'];
}

/** The keys and the bus channel of one channel. In a Cluster they all fall into one slot. */
export class ChannelKeys {
  /** The channel to SUBSCRIBE and PUBLISH to. */
  readonly bus: string;
  readonly #tag: string;

  /** @param database number for SELECT. Keys belong to it; channels on the bus reach all, so its number is in theirs */
  constructor(prefix: string, channel: string, database = 0) {
    const name = busName(prefix, channel);
    this.#tag = `{${name}}`;
    this.bus = database === 0 ? name : busName(`${prefix}/${database}`, channel);
  }

  /** A string: where the channel stands (lua/channel.lua). */
  get top(): string {
    return `${this.#tag}:top`;
  }

  /** A list: the newest messages, oldest first. */
  get list(): string {
    return `${this.#tag}:list`;
  }

  /** A hash: which device has what. */
  get devices(): string {
    return `${this.#tag}:devices`;
  }

  /** Written to wait for replicas (replication.ts). */
  get mark(): string {
    return `${this.#tag}:mark`;
  }

  /** A string: what has been done with the messages, and which are gone (lua/marks.lua). */
  get marks(): string {
    return `${this.#tag}:marks`;
  }

  /** A hash: which message is to be replaced by the next one with a key. */
  get replaceable(): string {
    return `${this.#tag}:keys`;
  }

  /** A sorted set: which message expires when. */
  get expiries(): string {
    return `${this.#tag}:ttl`;
  }

  /** For what is no channel's, but in the same slot. */
  own(name: string): string {
    return `${this.#tag}:${name}`;
  }

  /** Where the receipt for an idempotency key is kept. A long key is kept as its digest. */
  receipt(key: string): string {
    const name = key.length <= 64 ? `k:${key}` : `h:${createHash('sha256').update(key).digest('base64url')}`;
    return `${this.#tag}:once:${name}`;
  }
}

/** The hash of the sessions that are seen on a channel: of a user, as his inbox, or of a topic. */
export function sessionsKey(prefix: string, channel: string): string {
  return `{${busName(prefix, channel)}}:sessions`;
}

/** Is there as long as an instance gives signs of life. */
export function lifeKey(prefix: string, life: string): string {
  return `{${prefix}:life:${life}}`;
}

/** Where the store's origin is kept (epochs.ts). In a Cluster, that of each slot, as scripts reach no other. */
export function originKey(prefix: string, slot: number | undefined): string {
  if (slot === undefined) return `{${prefix}:origin}`;
  let keys = originKeys.get(prefix);
  if (keys === undefined) {
    keys = { bySlot: [], tried: 0 };
    originKeys.set(prefix, keys);
  }
  while (keys.bySlot[slot] === undefined) {
    const key = `{${prefix}:origin:${keys.tried++}}`;
    keys.bySlot[slotOf(key)] ??= key;
  }
  return keys.bySlot[slot];
}
const originKeys = new Map<string, { bySlot: string[]; tried: number }>();

/**
 * Braces would move a key to another slot than the channel of the same name, so they are percent-encoded,
 * and with them the percent sign.
 */
function busName(prefix: string, channel: string): string {
  return `${prefix}:${ODD.test(channel) ? channel.replace(EVERY_ODD, encodeURIComponent) : channel}`;
}
const ODD = /[{}%]/;
const EVERY_ODD = /[{}%]/g;

// ── what the keys hold: lua/channel.lua is the other side of it ──

export const TOP_BYTES = 83;

/** Where a channel stands, and how its messages are kept. */
export interface Top extends Position {
  /** Milliseconds that messages are kept. */
  age: number;
  /** Most messages that are kept. */
  most: number;
  /** When the lifetimes of the keys have to be set again, in milliseconds since 1970. */
  renew: number;
  /** No message that is kept was stored before. */
  head: number;
  /** Bytes of the largest entry that the log has had. */
  big: number;
}

/** @throws {RedisReplyError} for what is none */
export function decodeTop(bytes: Buffer): Top {
  if (bytes.length !== TOP_BYTES) throw new RedisReplyError('ERR a string that is no position of a channel');
  return {
    epoch: bytes.toString('latin1', 0, 23),
    age: bytes.readUIntBE(23, 6),
    most: bytes.readUInt32BE(29),
    renew: bytes.readUIntBE(39, 6),
    head: bytes.readUIntBE(45, 6),
    big: bytes.readUInt32BE(51),
    id: bytes.toString('latin1', 55, 71).trimEnd(),
    offset: bytes.readUIntBE(71, 6),
  };
}

/** A message that the log is known to have had, for the scripts. */
export function encodeKnown(known: Position | undefined): Buffer {
  if (known === undefined || known.epoch.length !== EPOCH_LENGTH || known.id.length !== ID_LENGTH)
    return NOTHING;
  const bytes = Buffer.allocUnsafe(KNOWN_BYTES);
  bytes.write(known.epoch + known.id, 0, 'latin1');
  bytes.writeUIntBE(known.offset, KNOWN_BYTES - 6, 6);
  return bytes;
}
const NOTHING = Buffer.alloc(0);
const ID_LENGTH = 16;
const KNOWN_BYTES = EPOCH_LENGTH + ID_LENGTH + 6;

/**
 * A message as the scripts take it: all of its entry but the offset and the time.
 *
 * @param ttl whole milliseconds
 * @param trace see `StoredMessage`
 */
export function encodeMessage(
  id: string,
  kind: PayloadKind,
  payload: Buffer,
  ttl?: number,
  trace?: string,
): Buffer {
  const life = ttl === undefined ? '' : ` ${ttl}`;
  const head = `${id} ${KIND_LETTERS[kind]}${life}${trace === undefined ? '' : ` t=${trace}`}\n`;
  const bytes = Buffer.allocUnsafe(head.length + payload.length);
  bytes.write(head, 0, 'latin1');
  payload.copy(bytes, head.length);
  return bytes;
}

/** The entry of a log, or of a doorbell, in bytes[start, end): its payload is a view of them. */
export function decodeEntry(
  channel: string,
  epoch: string,
  bytes: Buffer,
  start: number,
  end: number,
): StoredMessage | undefined {
  const limit = Math.min(end, start + MAX_LINE);
  const offset = decimal(bytes, start, limit);
  const time = decimal(bytes, decimalEnd + 1, limit);
  const idStart = decimalEnd + 1;
  let at = idStart;
  while (at < limit && bytes[at] !== SPACE && bytes[at] !== NEWLINE) at++;
  // Then a letter, and the end of the line, or before that when it expires.
  if (!(offset > 0) || time < 0 || at === idStart || at - idStart > MAX_ID || at + 2 >= limit)
    return undefined;
  if (bytes[at] !== SPACE) return undefined;
  const id = bytes.toString('latin1', idStart, at);
  const kind = KINDS[bytes[at + 1]!];
  // Of a version that is not known, perhaps: nobody could say what its payload is.
  if (kind === undefined) return undefined;
  if (bytes[at + 2] === NEWLINE) {
    return { channel, epoch, offset, id, time, kind, payload: bytes.subarray(at + 3, end) };
  }
  if (bytes[at + 2] !== SPACE) return undefined;
  const line = bytes.subarray(0, limit).indexOf(NEWLINE, at + 3);
  const rest = line === -1 ? null : FIELDS.exec(bytes.toString('latin1', at + 2, line));
  if (rest === null) return undefined;
  const message: StoredMessage = {
    channel,
    epoch,
    offset,
    id,
    time,
    kind,
    payload: bytes.subarray(line + 1, end),
  };
  const expires = rest[1] === undefined ? undefined : expiryOf(time, Number(rest[1]));
  if (expires !== undefined) message.expires = expires;
  const trace = TRACE.exec(rest[2]!)?.[1];
  if (trace !== undefined) message.trace = trace;
  return message;
}

/** As it is read at that time: it may have expired. @param now milliseconds since 1970, by the store's clock */
export function readAt(now: number, message: StoredMessage): StoredMessage {
  if (message.expires === undefined || message.expires > now) return message;
  const { expires: _, trace: __, ...kept } = message;
  return { ...kept, kind: 'gone', payload: Buffer.alloc(0) };
}

/** Where the last number that `decimal` has read ends. */
let decimalEnd = 0;

/** The number before a space, or -1 where there is none that can be had. */
function decimal(bytes: Buffer, start: number, limit: number): number {
  let value = 0;
  let at = start;
  for (; at < limit && bytes[at] !== SPACE; at++) {
    const digit = bytes[at]! - ZERO;
    if (!(digit >= 0 && digit <= 9)) value = Number.NaN;
    value = value * 10 + digit;
  }
  decimalEnd = at;
  return at > start && at < limit && Number.isSafeInteger(value) ? value : -1;
}
const SPACE = 32;
const NEWLINE = 10;
const ZERO = 48;
/** Bytes of an entry before its payload, at most. */
const MAX_LINE = 512;
const MAX_ID = 48;
/** What may follow the letter: milliseconds that it lives, then fields with names. */
const FIELDS = /^(?: ([1-9]\d{0,14}))?((?: [a-z]+=[!-~]*)*)$/;
const TRACE = / t=(\S+)/;

/** Reads what a `tidings.1` client sends. Nothing of it is believed before it has been looked at. */
import { isRecord } from '../is-record.ts';
import { textOfField } from './json-field.ts';
import { inboxOf, isDevice, keyProblem, topicProblem } from './names.ts';
import { type ErrorCode, INBOX, type WirePosition } from './wire.ts';

const MAX_ID = 64;
const MAX_REF = 64;
/** Characters. Longer ones are looked at by nobody. */
const MAX_TICKET = 16_384;
/** Levels of arrays and objects in a frame. Deep JSON costs many times what flat JSON does. */
const MAX_DEPTH = 500;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Of `[` and `{`, and of `]` and `}`: without the bit in which they differ. */
const OPENING = 0x5b;
const CLOSING = 0x5d;
const BRACE = 0x20;

/** A frame that is not obeyed; the connection stays open. */
export class FrameError extends Error {
  readonly code: ErrorCode;
  readonly channel: string | undefined;
  constructor(code: ErrorCode, message: string, channel?: string) {
    super(message);
    this.code = code;
    this.channel = channel;
  }
}

/** Of a `publish` frame: the text of its `data`, which no field of a client's can be. */
export const DATA = Symbol('the text of data');

export type RawFrame = { type: string; [DATA]?: string | undefined } & Record<string, unknown>;

/** A JSON object with a string `type`; `undefined` for anything else, which closes the connection. */
export function parseFrame(bytes: Buffer): RawFrame | undefined {
  if (bytes.length > 2 * MAX_DEPTH && isTooDeep(bytes)) return undefined;
  try {
    const text = bytes.toString();
    const parsed: unknown = JSON.parse(text);
    if (!isRecord(parsed) || typeof parsed['type'] !== 'string') return undefined;
    const frame = parsed as RawFrame;
    if (frame.type === 'publish') frame[DATA] = textOfField(text, 'data');
    return frame;
  } catch {
    return undefined;
  }
}

/**
 * The broker's name of a channel that a client has named: its own inbox or a topic.
 *
 * @throws {FrameError} forbidden for the inbox of somebody else, bad-channel
 */
export function channelOf(name: unknown, user: string): string {
  if (name === INBOX || name === inboxOf(user)) return inboxOf(user);
  const printable = typeof name === 'string' ? name.slice(0, 300) : undefined;
  if (printable?.startsWith(inboxOf(''))) {
    throw new FrameError('forbidden', 'the inbox of another user', printable);
  }
  const problem = topicProblem(name);
  if (problem !== undefined) throw new FrameError('bad-channel', problem, printable);
  return name as string;
}

/** @throws {FrameError} bad-frame */
export function positionOf(value: unknown, channel?: string): WirePosition {
  if (isRecord(value)) {
    const { epoch, offset, id } = value;
    const isFit =
      typeof epoch === 'string' &&
      epoch.length <= MAX_ID &&
      typeof id === 'string' &&
      id.length <= MAX_ID &&
      Number.isSafeInteger(offset) &&
      (offset as number) >= 0;
    if (isFit) return { epoch, offset: offset as number, id };
  }
  throw new FrameError('bad-frame', 'a position is {epoch, offset, id}', channel);
}

/** @throws {FrameError} bad-frame */
export function startOf(value: unknown): 'now' | 'retained' {
  if (value === undefined || value === 'now') return 'now';
  if (value === 'retained') return 'retained';
  throw new FrameError('bad-frame', 'start is "now" or "retained"');
}

export interface HelloWishes {
  device: string | undefined;
  start: 'now' | 'retained';
  /** As the client named them. */
  positions: Map<string, WirePosition>;
  /** Versions of states, likewise. */
  states: Map<string, WirePosition>;
  topics: string[];
}

/**
 * @param limit topics that may be named
 * @throws {FrameError} bad-frame
 */
export function helloOf(frame: Record<string, unknown>, limit: number): HelloWishes {
  const { device, positions = {}, topics = [], states = {} } = frame;
  if (device !== undefined && !isDevice(device)) {
    throw new FrameError('bad-frame', 'device is a string of 1 to 64 characters');
  }
  if (!isRecord(positions) || !Array.isArray(topics) || !isRecord(states)) {
    throw new FrameError('bad-frame', 'positions and states are objects, topics an array');
  }
  const named = Object.entries(positions);
  const known = Object.entries(states);
  if (named.length + topics.length > 2 * limit + 1 || known.length > 2 * limit + 1) {
    throw new FrameError('too-many-subscriptions', `more than ${limit} topics`);
  }
  return {
    device,
    start: startOf(frame['start']),
    positions: new Map(named.map(([channel, position]) => [channel, positionOf(position, channel)])),
    states: new Map(known.map(([channel, version]) => [channel, positionOf(version, channel)])),
    topics: topics.map((topic) => {
      if (typeof topic !== 'string') throw new FrameError('bad-frame', 'topics are strings');
      return topic;
    }),
  };
}

/** @throws {FrameError} bad-frame */
export function presenceOf(value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new FrameError('bad-frame', 'presence is true or false');
}

/** @throws {FrameError} bad-frame */
export function refOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value.length <= MAX_REF) return value;
  throw new FrameError('bad-frame', `ref is a string of at most ${MAX_REF} characters`);
}

/** @throws {FrameError} bad-frame */
export function idempotencyKeyOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const problem = keyProblem(value);
  if (problem !== undefined) throw new FrameError('bad-frame', problem);
  return value as string;
}

/** @throws {FrameError} bad-frame */
export function ticketOf(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'string' && value !== '' && value.length <= MAX_TICKET) return value;
  throw new FrameError('bad-frame', `ticket is a string of 1 to ${MAX_TICKET} characters`);
}

/** Looks at brackets outside of strings only; whether they match, the parser says. */
function isTooDeep(bytes: Buffer): boolean {
  let depth = 0;
  let isText = false;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) isText = !isText;
    else if (isText) {
      if (byte === BACKSLASH) i++;
    } else if ((byte & ~BRACE) === OPENING) {
      if (++depth > MAX_DEPTH) return true;
    } else if ((byte & ~BRACE) === CLOSING) depth--;
  }
  return false;
}

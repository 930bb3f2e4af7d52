/** Reads what a server says. Nothing of it is believed before it has been looked at: it may be a stranger's, or broken. */
import type { ServerFrame } from '../push/talk/wire.ts';

type Fields = Record<string, unknown>;

/** A frame that can't be one. */
export const MALFORMED = Symbol();
/** Of a type that this client doesn't know: perhaps of a newer server. */
export const UNKNOWN = Symbol();

/** `data` of a binary message comes as bytes. */
export function readFrame(data: unknown): ServerFrame | typeof MALFORMED | typeof UNKNOWN {
  try {
    const frame: unknown = isText(data) && JSON.parse(data);
    if (!isRecord(frame) || !isText(frame['type'])) return MALFORMED;
    const isFit = fits.get(frame['type']);
    if (isFit === undefined) return UNKNOWN;
    if (!isFit(frame)) return MALFORMED;
    if (frame['encoding'] !== undefined) frame['data'] = bytes(frame['data'] as string);
    return frame as unknown as ServerFrame;
  } catch {
    // Not JSON, or not base64.
    return MALFORMED;
  }
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isPosition(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { epoch, offset, id } = value;
  return isText(epoch) && isText(id) && Number.isSafeInteger(offset) && (offset as number) >= 0;
}

/** Milliseconds; `1e999` is none. */
function isTime(value: unknown): boolean {
  return Number.isFinite(value) && (value as number) >= 0;
}

function isOptional(value: unknown, isFit: (value: unknown) => boolean): boolean {
  return value === undefined || isFit(value);
}

function isState(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { position, recovered, reason, acked } = value;
  const isGap = isOptional(reason, isText) && isOptional(acked, isPosition);
  return isPosition(position) && typeof recovered === 'boolean' && isGap;
}

function ofChannel(isFit: (frame: Fields) => boolean): (frame: Fields) => boolean {
  return (frame) => isText(frame['channel']) && isFit(frame);
}

function isPayload({ data, encoding }: Fields): boolean {
  return data !== undefined && (encoding === undefined || (encoding === 'base64' && isText(data)));
}

const fits = new Map<string, (frame: Fields) => boolean>([
  ['pong', () => true],
  ['status', ({ behind }) => typeof behind === 'boolean'],
  ['drain', ({ window }) => isTime(window)],
  ['renewed', ({ expiresIn }) => isOptional(expiresIn, isTime)],
  ['unsubscribed', ofChannel(() => true)],
  [
    'presence',
    ofChannel(
      ({ users, joined, left, total }) =>
        isTime(total) &&
        [users, joined, left].every((names = []) => Array.isArray(names) && names.every(isText)),
    ),
  ],
  ['subscribed', ofChannel(isState)],
  ['gap', ofChannel(isState)],
  ['transient', ofChannel(isPayload)],
  [
    'message',
    ofChannel(
      (frame) =>
        isPayload(frame) &&
        isPosition(frame) &&
        isTime(frame['time']) &&
        isOptional(frame['reference'], isText),
    ),
  ],
  ['acked', ofChannel(({ device, position }) => isText(device) && isPosition(position))],
  ['published', ofChannel((frame) => isOptional(frame['ref'], isText) && isPosition(frame))],
  [
    'error',
    ({ code, message, ref, channel }) =>
      isText(code) && isText(message) && isOptional(ref, isText) && isOptional(channel, isText),
  ],
  [
    'welcome',
    ({ session, instance, user, heartbeat, channels, expiresIn }) =>
      [session, instance, user].every(isText) &&
      isOptional(expiresIn, isTime) &&
      isRecord(channels) &&
      Object.values(channels).every(isState) &&
      isOptional(
        heartbeat,
        (times) => isRecord(times) && isTime(times['interval']) && isTime(times['timeout']),
      ),
  ],
]);

function bytes(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}

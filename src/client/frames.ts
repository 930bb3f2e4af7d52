/**
 * Reads what a server says. Nothing of it is believed before it has been looked at: it may be a stranger's, or broken.
 * A field is of one kind in all frames, so that it is enough to say for each frame which fields it must have.
 */
import type { ServerFrame } from '../push/talk/wire.ts';

type Check = (value: unknown) => boolean;

/** By type of frame: the fields that it must have, separated by blanks, and what becomes of it. */
export type Frames = {
  [Type in ServerFrame['type']]?: [
    required: string,
    take: (frame: Extract<ServerFrame, { type: Type }>) => unknown,
  ];
};
export type KnownFrames = Map<unknown, Frames[keyof Frames]>;

/**
 * What becomes of a frame; `data` of a binary message is bytes by then. Undefined: it can't be one; false: it is of a type
 * that this client doesn't know, perhaps of a newer server.
 */
export function readFrame(data: unknown, frames: KnownFrames): (() => void) | false | undefined {
  try {
    const frame: unknown = isText(data) && JSON.parse(data);
    if (!isRecord(frame) || !isText(frame['type'])) return undefined;
    const [required, take] = frames.get(frame['type']) ?? [];
    if (!take) return false;
    if (!has(frame, required as string)) return undefined;
    decode(frame);
    return () => take(frame as never);
  } catch {
    // Not JSON, or not base64.
    return undefined;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isPosition(value: unknown): boolean {
  return has(value, 'epoch offset id');
}

/** Whether it is an object that has all of these fields, and none that is of another kind than it should be. */
export function has(value: unknown, required: string): boolean {
  return (
    isRecord(value) &&
    required.split(' ').every((name) => value[name] !== undefined) &&
    Object.keys(value).every((name) => kinds.get(name)?.(value[name]) ?? true)
  );
}

/** Whether it is an array of such. */
export function listOf(isFit: Check): Check {
  return (value) => Array.isArray(value) && value.every(isFit);
}

export function isText(value: unknown): value is string {
  return typeof value === 'string';
}

/** Milliseconds; `1e999` is none. */
export function isTime(value: unknown): boolean {
  return Number.isFinite(value) && (value as number) >= 0;
}

export function isOffset(value: unknown): boolean {
  return Number.isSafeInteger(value) && isTime(value);
}

export function isFlag(value: unknown): boolean {
  return typeof value === 'boolean';
}

/** By name of field. */
export const kinds = new Map<string, Check>();
/** The fields of this kind, their names separated by blanks. */
export function are(isFit: Check, names: string): void {
  for (const name of names.split(' ')) kinds.set(name, isFit);
}
are(isText, 'epoch id channel code message ref reason reference session instance user device');
are(isTime, 'time window expiresIn interval timeout');
are(isFlag, 'recovered behind');
are(isOffset, 'offset');
are(isPosition, 'position acked');
are((value) => value === 'base64', 'encoding');
are((value) => has(value, 'interval timeout'), 'heartbeat');
are(
  (value) => isRecord(value) && Object.values(value).every((state) => has(state, 'position recovered')),
  'channels',
);

/**
 * Makes bytes of the data of a binary message, where it is one.
 * @throws for what is no base64, and what is no text
 */
export function decode<T extends { data?: unknown; encoding?: unknown }>(frame: T): T {
  if (frame.encoding !== undefined)
    frame.data = Uint8Array.from(atob((frame.data as string).trim()), (char) => char.charCodeAt(0));
  return frame;
}

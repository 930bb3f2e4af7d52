/** What rings on the bus: stored messages, acknowledgements, marks, and whatever any program publishes. */
import type { Cursor, StoredMessage } from './broker.ts';
import type { Marked } from './marks.ts';
import { decodeEntry } from './redis-layout.ts';
import { decodeMarkedBell } from './redis-marks-layout.ts';

/**
 * What begins a doorbell: bytes that no program publishes by chance, then which kind. Everything else on a
 * channel is a transient payload.
 */
export const MESSAGE_MAGIC = '\0tidings:m ';
export const ACK_MAGIC = '\0tidings:a ';
export const MARKS_MAGIC = '\0tidings:s ';
const MAGIC_LENGTH = MESSAGE_MAGIC.length;
const MAGIC = Buffer.from(MESSAGE_MAGIC.slice(0, -2));
const MESSAGE_LETTER = 109;
const ACK_LETTER = 97;
const MARKS_LETTER = 115;
const SPACE = 32;

/**
 * What came over the bus for `channel` as bytes[start, end): stored messages, an acknowledgement, marks, `undefined` for
 * a payload that is not a doorbell, `null` for a doorbell that can't be read, such as one with the letter of a newer version.
 * Words on its first line that are not known are passed over. Nothing of it is a view of `bytes`.
 */
export function decodeDoorbell(
  channel: string,
  bytes: Buffer,
  start: number,
  end: number,
): StoredMessage[] | Cursor | Marked | null | undefined {
  for (let i = 0; i < MAGIC.length; i++) if (bytes[start + i] !== MAGIC[i]) return undefined;
  let line = start + MAGIC_LENGTH;
  while (line < end && bytes[line] !== 10) line++;
  if (line >= end) return null;
  const head = bytes.toString('latin1', start + MAGIC_LENGTH, line);
  const letter = bytes[start + MAGIC.length];
  if (bytes[start + MAGIC.length + 1] !== SPACE) return null;
  const [epoch, offset, id] = head.split(' ');
  if (letter === MESSAGE_LETTER) return decodeMessages(channel, epoch ?? '', bytes, line + 1, end) ?? null;
  if (letter === MARKS_LETTER) return decodeMarkedBell(bytes, line + 1, end) ?? null;
  if (letter !== ACK_LETTER) return null;
  const position = { epoch: epoch ?? '', offset: Number(offset), id: id ?? '' };
  if (!epoch || !id || !Number.isSafeInteger(position.offset)) return null;
  return { channel, device: bytes.toString('utf8', line + 1, end), position };
}

/** What kind of doorbell it is, for who can't read it. */
export function letterOf(bytes: Buffer, start: number): string {
  return bytes.toString('latin1', start + MAGIC.length, start + MAGIC_LENGTH - 1);
}

/** Each is its entry, with its length and a space before it. */
function decodeMessages(
  channel: string,
  epoch: string,
  bytes: Buffer,
  start: number,
  end: number,
): StoredMessage[] | undefined {
  const messages: StoredMessage[] = [];
  for (let at = start; at < end; ) {
    let length = 0;
    for (let byte = bytes[at++]!; byte !== 32; byte = bytes[at++]!) {
      if (!(byte >= 48 && byte <= 57) || at >= end) return undefined;
      length = length * 10 + byte - 48;
    }
    const message = length > end - at ? undefined : decodeEntry(channel, epoch, bytes, at, at + length);
    if (message === undefined) return undefined;
    message.payload = copyOf(bytes, at + length - message.payload.length, at + length);
    messages.push(message);
    at += length;
  }
  return messages.length > 0 ? messages : undefined;
}

export function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

export function isCursor(doorbell: StoredMessage[] | Cursor | Marked): doorbell is Cursor {
  return 'device' in doorbell;
}

export function isMarked(doorbell: StoredMessage[] | Marked): doorbell is Marked {
  return 'marks' in doorbell;
}

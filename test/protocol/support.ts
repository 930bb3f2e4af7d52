/** What the tests of src/protocol share: frames written by hand, and a sink that records. */
import {
  FrameReader,
  type FrameReaderOptions,
  type FrameSink,
  ProtocolError,
} from '../../src/protocol/index.ts';

export type Event =
  | ['message', string | Buffer]
  | ['fragment', string | Buffer, boolean]
  | ['ping', Buffer]
  | ['pong', Buffer]
  | ['close', number, string]
  | ['error', number, string];

/** Bytes from hexadecimal; spaces are for the reader. */
export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
}

/** A frame as a client (`key`) or a server would write it, by RFC 6455 §5.2 and without our writer. */
export function frame(firstByte: number, payload: Buffer | string = '', key?: Buffer): Buffer {
  const body = Buffer.from(payload);
  const mask = key === undefined ? 0 : 0x80;
  let head: Buffer;
  if (body.length < 126) {
    head = Buffer.from([firstByte, mask | body.length]);
  } else if (body.length < 65536) {
    head = Buffer.alloc(4);
    head.writeUInt16BE(body.length, 2);
    head[1] = mask | 126;
  } else {
    head = Buffer.alloc(10);
    head.writeBigUInt64BE(BigInt(body.length), 2);
    head[1] = mask | 127;
  }
  head[0] = firstByte;
  if (key === undefined) return Buffer.concat([head, body]);
  for (let i = 0; i < body.length; i++) body[i]! ^= key[i & 3]!;
  return Buffer.concat([head, key, body]);
}

export const KEY = hex('37 fa 21 3d');

/** A masked frame. */
export function masked(firstByte: number, payload: Buffer | string = ''): Buffer {
  return frame(firstByte, payload, KEY);
}

/** A sink that keeps copies of all it is given. */
export class Recorder implements FrameSink {
  readonly events: Event[] = [];
  onMessage(data: Buffer, isBinary: boolean): void {
    this.events.push(['message', isBinary ? Buffer.from(data) : data.toString()]);
  }
  onFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    this.events.push(['fragment', isBinary ? Buffer.from(data) : data.toString(), isLast]);
  }
  onPing(data: Buffer): void {
    this.events.push(['ping', Buffer.from(data)]);
  }
  onPong(data: Buffer): void {
    this.events.push(['pong', Buffer.from(data)]);
  }
  onClose(code: number, reason: string): void {
    this.events.push(['close', code, reason]);
  }
  onError(error: ProtocolError): void {
    this.events.push(['error', error.closeCode, error.code]);
  }
}

/** Feeds the chunks to a new reader (a server's unless told otherwise); an error ends the list. */
export function readAll(chunks: Iterable<Buffer>, options: Partial<FrameReaderOptions> = {}): Event[] {
  const sink = new Recorder();
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0, ...options });
  try {
    for (const chunk of chunks) {
      // The reader unmasks in place: it gets memory of its own, at an odd place in it.
      const own = Buffer.concat([Buffer.alloc(1 + (chunk.length & 3)), chunk]).subarray(
        1 + (chunk.length & 3),
      );
      reader.read(own, 0, own.length);
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    sink.onError(error);
  }
  return sink.events;
}

/** One chunk per byte. */
export function bytewise(bytes: Buffer): Buffer[] {
  return Array.from(bytes, (byte) => Buffer.from([byte]));
}

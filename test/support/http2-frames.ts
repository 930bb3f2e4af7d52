/** A client of HTTP/2 that says whatever it is told to: frames by hand (RFC 9113 §4), and a record of what comes back. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { until } from './net.ts';

export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;
export const CANCEL = 8;

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export interface Frame {
  type: number;
  flags: number;
  stream: number;
  payload: Buffer;
}

export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Uint8Array = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

/** Settings by their numbers (RFC 9113 §6.5.2). */
export function settings(...pairs: [id: number, value: number][]): Buffer {
  const entries = pairs.map(([id, value]) =>
    Buffer.concat([Buffer.from([id >> 8, id & 255]), uint32(value)]),
  );
  return frame(Type.SETTINGS, 0, 0, Buffer.concat(entries));
}

function prefixed(bits: number, value: number): Buffer {
  const most = 2 ** bits - 1;
  if (value < most) return Buffer.from([value]);
  const bytes = [most];
  for (let rest = value - most; ; rest >>>= 7) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest & 127) | 128);
  }
}

const string = (text: string): Buffer =>
  Buffer.concat([prefixed(7, text.length), Buffer.from(text, 'latin1')]);

/** Fields as HPACK has them (RFC 7541 §6.2.2), literally and without an index. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(
    fields.map(([name, value]) => Buffer.concat([Buffer.from([0]), string(name), string(value)])),
  );
}

/** The fields of a request for a WebSocket (RFC 8441 §5). */
export function asking(path = '/ws', more: readonly (readonly [string, string])[] = []): Buffer {
  return block([
    [':method', 'CONNECT'],
    [':protocol', 'websocket'],
    [':scheme', 'http'],
    [':authority', 'localhost'],
    [':path', path],
    ['sec-websocket-version', '13'],
    ...more,
  ]);
}

export class RawClient {
  readonly socket: Socket;
  /** What has come, but for DATA, of which only the bytes of each stream are counted. */
  readonly frames: Frame[] = [];
  readonly received = new Map<number, number>();
  isClosed = false;
  /** Whether it gives back what it has received, so that more may come. */
  readsOn = true;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isClosed = true;
    });
    socket.on('data', (chunk) => this.#read(chunk));
  }

  /** @param ca of a server with TLS @param own settings; with others than none, nothing else is said before them */
  static async connect(port: number, ca?: Buffer, own: Buffer = settings()): Promise<RawClient> {
    const socket =
      ca === undefined
        ? connect(port, '127.0.0.1')
        : connectTls({ host: '127.0.0.1', port, ca, servername: 'localhost', ALPNProtocols: ['h2'] });
    await once(socket, ca === undefined ? 'connect' : 'secureConnect');
    const client = new RawClient(socket);
    client.write(Buffer.from(PREFACE, 'latin1'), own);
    await until('settings', () => client.isClosed || client.of(Type.SETTINGS).length > 0);
    client.write(frame(Type.SETTINGS, Flag.ACK, 0));
    return client;
  }

  write(...parts: Buffer[]): void {
    if (!this.socket.destroyed) this.socket.write(Buffer.concat(parts));
  }

  /** Writes again and again, no more than the connection takes, until it ends. @returns how many times */
  async flood(times: number, part: (i: number) => Buffer): Promise<number> {
    let i = 0;
    while (i < times && !this.isClosed) {
      const parts: Buffer[] = [];
      for (let n = 0; n < 200 && i < times; n++) parts.push(part(i++));
      const isTaken = this.socket.write(Buffer.concat(parts));
      if (isTaken) await new Promise(setImmediate);
      else await until('room', () => this.isClosed || !this.socket.writableNeedDrain);
    }
    return i;
  }

  of(type: number, stream?: number): Frame[] {
    return this.frames.filter(
      (each) => each.type === type && (stream === undefined || each.stream === stream),
    );
  }

  /** The reason of the last GOAWAY; undefined where none has come. */
  get goaway(): number | undefined {
    return this.of(Type.GOAWAY).at(-1)?.payload.readUInt32BE(4);
  }

  end(): void {
    this.socket.destroy();
  }

  #read(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 9) {
      const length = this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < 9 + length) return;
      const [type, flags] = [this.#rest[3]!, this.#rest[4]!];
      const stream = this.#rest.readUInt32BE(5);
      const payload = this.#rest.subarray(9, 9 + length);
      this.#rest = this.#rest.subarray(9 + length);
      if (type !== Type.DATA) this.frames.push({ type, flags, stream, payload: Buffer.from(payload) });
      else {
        this.received.set(stream, (this.received.get(stream) ?? 0) + length);
        if (this.readsOn && length > 0) {
          const update = uint32(length);
          this.write(frame(Type.WINDOW_UPDATE, 0, 0, update), frame(Type.WINDOW_UPDATE, 0, stream, update));
        }
      }
    }
  }
}

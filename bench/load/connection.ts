/**
 * One client connection of the load generator: opens whichever wire the peer speaks, sends runs of prebuilt
 * frames, and checks what comes back: opcode, length and number of every message, every byte of some.
 *
 * It knows the frames it expects, so it is far cheaper than a WebSocket client: the server is what is measured.
 */
import { createHash, randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { createInflateRaw } from 'node:zlib';
import type { Wire } from '../roster.ts';
import { type Content, clientFrame } from './content.ts';

export interface ConnectionOptions {
  port: number;
  wire: Wire;
  /** Default: what the wire wants. */
  path?: string;
  deflate: boolean;
  /** Where the connection comes from: one loopback address has only some 28,000 ports. */
  localAddress?: string | undefined;
  /** Inflate compressed messages and compare them; the others only count them. */
  verify?: boolean;
}

/** Every 64th message of up to 64 KiB, and every 8th of the larger ones, is compared in full. */
const SAMPLE_SMALL = 63;
const SAMPLE_LARGE = 7;

/** One read buffer for all connections: nothing of it is kept behind the callback. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

const HANDSHAKE = 0;
const GREETING = 1;
const OPEN = 2;
/** Our close frame is on its way. */
const CLOSING = 3;
/** The server's has come as well: TCP may end. */
const ANSWERED = 4;
const CLOSED = 5;

export class Connection {
  /** Messages that have come in whole. */
  received = 0;
  /** Messages sent. */
  sent = 0;
  /** When each message outstanding was sent, by its number modulo the length. */
  sentAt: Float64Array | undefined;
  /** Called once for each read that completed messages. */
  onMessages: (connection: Connection, count: number) => void = () => {};
  onPong: () => void = () => {};
  onOpen: () => void = () => {};
  onClose: () => void = () => {};
  onError: (error: Error) => void = () => {};

  readonly #socket: Socket;
  readonly #content: Content;
  readonly #wire: Wire;
  readonly #sampleMask: number;
  readonly #accept: string;
  readonly #compressedAllowed: boolean;
  #phase = HANDSHAKE;
  #head = '';
  /** Bytes of the current payload still to come, and already seen. */
  #remaining = 0;
  #offset = 0;
  /** The current payload is one of those expected, not a control frame or a wire's own. */
  #isMessage = false;
  #isCompressed = false;
  #opcode = 0;
  /** A frame header, or a payload that isn't one of ours, that a read has cut. */
  #spill: Buffer | undefined;
  #spilled = 0;
  /** Messages that came in compressed. */
  #compressed = 0;
  /** On connections that check what compressed messages say. */
  #verifier: Verifier | undefined;

  constructor(content: Content, options: ConnectionOptions) {
    this.#content = content;
    this.#wire = options.wire;
    this.#compressedAllowed = options.deflate;
    if (options.verify) this.#verifier = new Verifier(content, (error) => this.#fail(error.message));
    this.#sampleMask = content.expectedLength > 65536 ? SAMPLE_LARGE : SAMPLE_SMALL;
    const key = randomBytes(16).toString('base64');
    this.#accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    this.#socket = connect({
      port: options.port,
      host: '127.0.0.1',
      localAddress: options.localAddress,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#socket.on('connect', () => {
      if (this.#wire === 'raw') this.#phase = GREETING;
      else this.#socket.write(requestHead(options, key));
    });
    this.#socket.on('error', (error) => this.onError(error));
    this.#socket.on('close', () => {
      const phase = this.#phase;
      this.#phase = CLOSED;
      if (phase < CLOSING) this.onError(new Error('the server closed the connection'));
      else if (phase === CLOSING) this.onError(new Error('the server ended without a close frame'));
      this.onClose();
    });
  }

  /** Sends the next `count` messages of the ring in one write. */
  send(count: number): void {
    const { count: ring, frameLength, frames } = this.#content;
    const start = (this.sent & (ring - 1)) * frameLength;
    this.sent += count;
    this.#socket.write(frames.subarray(start, start + count * frameLength));
  }

  /** Starts the closing handshake; `onClose` follows. */
  close(): void {
    this.#phase = CLOSING;
    this.#socket.write(CLOSE_FRAME);
  }

  /** `onPong` follows, behind everything that the server has sent until then; without a protocol, at once. */
  ping(): void {
    if (this.#wire === 'raw') setImmediate(() => this.onPong());
    else this.#socket.write(PING_FRAME);
  }

  /** Resolves when all compressed messages have been looked into; fails if what should be compressed never is. */
  async verified(): Promise<void> {
    if (this.#compressedAllowed && this.received > 0 && this.#compressed === 0) {
      this.#fail('permessage-deflate was agreed to, and nothing was compressed');
    }
    await this.#verifier?.finished(this.#compressed);
  }

  /** Cuts the connection. No TIME_WAIT is left behind. */
  cut(): void {
    this.#phase = CLOSED;
    this.#socket.resetAndDestroy();
  }

  #open(): void {
    this.#phase = OPEN;
    this.onOpen();
  }

  #fail(what: string): void {
    if (this.#phase === CLOSED) return;
    this.cut();
    this.onError(new Error(`message ${this.received} of a connection: ${what}`));
  }

  #read(length: number): void {
    let at = 0;
    if (this.#phase === HANDSHAKE) {
      at = this.#readHead(length);
      if (at < 0) return;
    }
    if (this.#phase === GREETING && this.#wire === 'raw') {
      this.#open();
      return;
    }
    const before = this.received;
    if (this.#wire === 'raw') this.#readRaw(length);
    else this.#readFrames(at, length);
    const count = this.received - before;
    if (count > 0 && this.#phase === OPEN) this.onMessages(this, count);
  }

  /** Returns where the frames begin, or -1. */
  #readHead(length: number): number {
    const had = this.#head.length;
    this.#head += readBuffer.toString('latin1', 0, length);
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return -1;
    if (!this.#head.startsWith('HTTP/1.1 101') || !this.#head.includes(this.#accept)) {
      this.#fail(`the handshake was refused: ${this.#head.slice(0, 200)}`);
      return -1;
    }
    if (this.#compressedAllowed && !/permessage-deflate/i.test(this.#head)) {
      this.#fail('permessage-deflate was not agreed to');
      return -1;
    }
    this.#head = '';
    if (this.#wire === 'websocket') this.#open();
    else this.#phase = GREETING;
    return end + 4 - had;
  }

  #readRaw(length: number): void {
    let at = 0;
    while (at < length) {
      if (this.#remaining === 0) {
        this.#remaining = this.#content.expectedLength;
        this.#offset = 0;
      }
      at += this.#payload(at, length);
    }
  }

  #readFrames(from: number, length: number): void {
    let at = from;
    while (at < length) {
      if (this.#remaining > 0) {
        at += this.#isMessage ? this.#payload(at, length) : this.#other(at, length);
        continue;
      }
      // A header: 2, 4 or 10 bytes, which a read may cut anywhere.
      let source: Buffer = readBuffer;
      let start = at;
      let available = length - at;
      if (this.#spilled > 0) {
        const copied = readBuffer.copy(
          this.#spill!,
          this.#spilled,
          at,
          Math.min(length, at + 10 - this.#spilled),
        );
        source = this.#spill!;
        start = 0;
        available = this.#spilled + copied;
      }
      const headerLength = available < 2 ? 2 : headerLengths(source[start + 1]! & 0x7f);
      if (available < headerLength) {
        this.#spill ??= Buffer.alloc(140);
        if (this.#spilled === 0) readBuffer.copy(this.#spill, 0, at, length);
        this.#spilled = available;
        return;
      }
      at += headerLength - this.#spilled;
      this.#spilled = 0;
      this.#header(source, start, headerLength);
      if (this.#phase === CLOSED) return;
    }
  }

  #header(source: Buffer, at: number, headerLength: number): void {
    const first = source[at]!;
    let size = source[at + 1]!;
    if (headerLength === 4) size = source.readUInt16BE(at + 2);
    else if (headerLength === 10) size = Number(source.readBigUInt64BE(at + 2));
    if ((source[at + 1]! & 0x80) !== 0) {
      this.#fail('it was masked');
      return;
    }
    const content = this.#content;
    this.#opcode = first & 0x0f;
    this.#remaining = size;
    this.#offset = 0;
    this.#isCompressed = (first & 0x40) !== 0;
    if (this.#isCompressed && this.#compressedAllowed) {
      this.#isMessage = true;
    } else {
      this.#isMessage =
        this.#phase === OPEN && size === content.expectedLength && first === (content.isBinary ? 0x82 : 0x81);
      // What isn't a message of ours is a control frame or short chatter of the wire.
      if (!this.#isMessage && size > 1000) {
        this.#fail(`expected ${content.expectedLength} bytes, got a frame ${first.toString(16)} of ${size}`);
      }
    }
    if (size === 0 && this.#phase !== CLOSED) this.#control(Buffer.alloc(0));
  }

  /** Checks what this read holds of the current message; returns how many bytes that were. */
  #payload(at: number, length: number): number {
    const available = length - at;
    const size = Math.min(this.#remaining, available);
    const offset = this.#offset;
    if (!this.#isCompressed) {
      const content = this.#content;
      const number = this.received & (content.count - 1);
      const tagAt = content.tagAt;
      if (offset === 0 && size >= tagAt + 4) {
        const p = at + tagAt;
        const tag =
          readBuffer[p]! |
          (readBuffer[p + 1]! << 8) |
          (readBuffer[p + 2]! << 16) |
          (readBuffer[p + 3]! << 24);
        if (tag !== content.tags[number]) this.#fail('lost, doubled or out of order');
      } else if (offset < tagAt + 4) {
        const end = Math.min(size, tagAt + 4 - offset);
        if (readBuffer.compare(content.expected[number]!, offset, offset + end, at, at + end) !== 0) {
          this.#fail('lost, doubled or out of order');
        }
      }
      if (
        (this.received & this.#sampleMask) === 0 &&
        readBuffer.compare(content.expected[number]!, offset, offset + size, at, at + size) !== 0
      ) {
        this.#fail('its content has changed');
      }
    }
    this.#offset = offset + size;
    this.#remaining -= size;
    if (this.#isCompressed) this.#verifier?.add(readBuffer.subarray(at, at + size), this.#remaining === 0);
    if (this.#remaining === 0) {
      this.received++;
      if (this.#isCompressed) this.#compressed++;
    }
    return size;
  }

  /** Collects a payload that isn't a message of ours; returns how many bytes it took. */
  #other(at: number, length: number): number {
    const size = Math.min(this.#remaining, length - at);
    this.#spill ??= Buffer.alloc(1140);
    if (this.#spill.length < 1140) this.#spill = Buffer.concat([this.#spill, Buffer.alloc(1000)]);
    readBuffer.copy(this.#spill, this.#offset, at, at + size);
    this.#offset += size;
    this.#remaining -= size;
    if (this.#remaining === 0) this.#control(Buffer.from(this.#spill.subarray(0, this.#offset)));
    return size;
  }

  #control(payload: Buffer): void {
    if (this.#opcode === 0x9) this.#socket.write(clientFrame(0xa, payload));
    else if (this.#opcode === 0x8) {
      if (this.#phase !== CLOSING) this.#fail(`the server closed with ${payload.toString('latin1')}`);
      else {
        this.#phase = ANSWERED;
        this.#socket.end();
      }
    } else if (this.#opcode === 0x1 && this.#wire !== 'websocket') this.#chatter(payload.toString());
    else if (this.#opcode === 0xa) this.onPong();
    else this.#fail(`a frame ${this.#opcode} of ${payload.length} bytes, not as sent`);
  }

  /** Greetings and heartbeats of Socket.IO (Engine.IO 4) and SockJS. */
  #chatter(text: string): void {
    const socket = this.#socket;
    if (this.#wire === 'socket.io') {
      if (text.startsWith('0{')) socket.write(clientFrame(1, Buffer.from('40')));
      else if (text.startsWith('40')) this.#open();
      else if (text === '2') socket.write(clientFrame(1, Buffer.from('3')));
      else this.#fail(`unexpected: ${text}`);
    } else if (text === 'o') this.#open();
    else if (text !== 'h') this.#fail(`unexpected: ${text}`);
  }
}

/** Inflates one connection's messages, in order, and compares them with what was sent. */
class Verifier {
  readonly #inflater = createInflateRaw();
  #text = Buffer.alloc(0);
  #verified = 0;
  readonly #fail: (error: Error) => void;

  constructor(content: Content, fail: (error: Error) => void) {
    this.#fail = fail;
    this.#inflater.on('error', fail);
    this.#inflater.on('data', (data: Buffer) => {
      this.#text = Buffer.concat([this.#text, data]);
      while (this.#text.length >= content.expectedLength) {
        const expected = content.expected[this.#verified++ & (content.count - 1)]!;
        if (expected.compare(this.#text, 0, expected.length) !== 0)
          fail(new Error('it inflates to something else'));
        this.#text = this.#text.subarray(expected.length);
      }
    });
  }

  /** Waits for the messages that were added. */
  async finished(count: number): Promise<void> {
    await new Promise<void>((resolve) => this.#inflater.flush(resolve));
    if (this.#verified !== count) {
      this.#fail(new Error(`of ${count} compressed messages ${this.#verified} could be inflated`));
    }
  }

  add(piece: Buffer, isLast: boolean): void {
    this.#inflater.write(Buffer.from(piece));
    if (isLast) this.#inflater.write(Buffer.from([0, 0, 0xff, 0xff]));
  }
}

const PING_FRAME = clientFrame(9, Buffer.from('all?'));
const CLOSE_FRAME = clientFrame(8, Buffer.from([0x03, 0xe8]));

function headerLengths(length7: number): number {
  return length7 < 126 ? 2 : length7 === 126 ? 4 : 10;
}

function requestHead({ port, wire, deflate, path = pathOf(wire) }: ConnectionOptions, key: string): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${key}`,
    `Origin: http://127.0.0.1:${port}`,
    'User-Agent: Mozilla/5.0 (X11; Linux x86_64) tidings-bench',
  ];
  if (deflate) lines.push('Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

function pathOf(wire: Wire): string {
  if (wire === 'socket.io') return '/socket.io/?EIO=4&transport=websocket';
  return wire === 'sockjs' ? `/sockjs/000/${randomBytes(6).toString('hex')}/websocket` : '/';
}

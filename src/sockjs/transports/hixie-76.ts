/**
 * The WebSocket protocol of 2010 (draft-hixie-thewebsocketprotocol-76), for the oldest browsers and Flash
 * shims: a handshake by arithmetic, then text between 0x00 and 0xFF.
 */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { nextTick } from '../../clock.ts';
import { arm, disarm, type Expirable } from '../../server/deadlines.ts';
import { GatheredBytes } from '../../server/gathered-bytes.ts';
import { isPlain, untaken } from '../../server/node-insides.ts';
import { refuse } from '../../server/refusal.ts';
import { hostOf, requestTarget } from '../../server/request-target.ts';
import { SlicedWriter } from '../../server/sliced-writer.ts';
import type { Traffic } from '../../server/traffic.ts';
import type { Receiver } from '../session.ts';

const NONCE_BYTES = 8;
/** Milliseconds for the nonce, and for the other side to close. */
const PATIENCE = 10_000;
const FRAME_START = 0x00;
const FRAME_END = 0xff;
const CLOSE = Buffer.from([0xff, 0x00]);

export interface Hixie76Events {
  opened(): void;
  text(message: string): void;
  /** A message is longer than one may be: the connection is to be ended. */
  tooLong(): void;
  /** The connection is over, cleanly if the peer said so, perhaps before it was open. Called once. */
  closed(wasClean: boolean): void;
}

export function isHixie76(request: IncomingMessage): boolean {
  const { headers } = request;
  return headers['sec-websocket-key1'] !== undefined && headers['sec-websocket-key2'] !== undefined;
}

/** The number hidden in a key (§5.2 of the draft): its digits, divided by its spaces. Undefined for a bad one. */
function keyNumber(key: string): number | undefined {
  const spaces = key.split(' ').length - 1;
  const digits = key.replace(/\D/g, '');
  if (spaces === 0 || digits === '' || digits.length > 12) return undefined;
  const number = Number(digits) / spaces;
  return Number.isInteger(number) && number < 2 ** 32 ? number : undefined;
}

/** One connection. It is a SockJS session's receiver as it stands. */
export class Hixie76Connection implements Receiver, Expirable {
  deadline: Expirable['deadline'] = null;
  readonly isWritable = true;
  readonly #socket: Duplex;
  /** Null on a plain socket. */
  readonly #sliced: SlicedWriter | null;
  readonly #events: Hixie76Events;
  readonly #maxMessage: number;
  readonly #traffic: Traffic;
  #numbers: Buffer | undefined;
  #isOver = false;
  #isPaused = false;
  readonly #gathered = new GatheredBytes();

  constructor(socket: Duplex, maxMessage: number, traffic: Traffic, events: Hixie76Events) {
    this.#traffic = traffic;
    this.#socket = socket;
    this.#sliced = isPlain(socket) ? null : new SlicedWriter(socket, undefined);
    this.#events = events;
    this.#maxMessage = maxMessage;
  }

  /** Answers the handshake, or refuses it with 400 where the keys are wrong. */
  accept(request: IncomingMessage, head: Buffer): void {
    const socket = this.#socket;
    const first = keyNumber(String(request.headers['sec-websocket-key1']));
    const second = keyNumber(String(request.headers['sec-websocket-key2']));
    const { origin = '' } = request.headers;
    const host = hostOf(request);
    if (first === undefined || second === undefined || host === undefined) {
      refuse(socket, 400);
      this.#over(false);
      return;
    }
    this.#numbers = Buffer.alloc(8);
    this.#numbers.writeUInt32BE(first, 0);
    this.#numbers.writeUInt32BE(second, 4);
    const { path, query } = requestTarget(request);
    const scheme = 'encrypted' in request.socket ? 'wss' : 'ws';
    if (socket.destroyed) {
      this.#over(false);
      return;
    }
    arm(this, PATIENCE);
    // Before the nonce has come: HAProxy passes the nonce on only after it has seen a response.
    socket.write(
      'HTTP/1.1 101 WebSocket Protocol Handshake\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Origin: ${origin}\r\n` +
        `Sec-WebSocket-Location: ${scheme}://${host}${path}${query && `?${query}`}\r\n\r\n`,
    );
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      disarm(this);
      this.#over(false);
    });
    socket.on('end', () => socket.end());
    if (head.length > 0) socket.unshift(head);
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    if (socket.isPaused()) socket.resume();
  }

  get bufferedAmount(): number {
    return this.#socket.writableLength + (this.#sliced?.waitingBytes ?? 0);
  }

  get backlog(): number {
    return this.bufferedAmount + untaken(this.#socket);
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    // Not within this call, so that whoever calls it is done with what it has before there is more.
    nextTick(() => {
      if (!this.#isPaused) this.#take(this.#gathered.bytes, 0);
      if (!this.#isPaused && !this.#isOver) this.#socket.resume();
    });
  }

  send(text: string): boolean {
    if (this.#isOver) return true;
    const frame = Buffer.concat([Buffer.of(FRAME_START), Buffer.from(text), Buffer.of(FRAME_END)]);
    this.#traffic.framesOut++;
    this.#traffic.bytesOut += frame.length;
    (this.#sliced ?? this.#socket).write(frame);
    return true;
  }

  end(): void {
    if (this.#isOver) return;
    this.#sliced?.handOver();
    this.#socket.end(CLOSE);
    arm(this, PATIENCE);
    this.#over(true);
  }

  /** The deadline has passed. */
  expire(): void {
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#traffic.bytesIn += chunk.length;
    // Where a message goes on, its end is only looked for in what is new.
    let from = this.#gathered.length;
    if (from > 0) this.#gathered.append(chunk);
    let rest = from > 0 ? this.#gathered.bytes : chunk;
    if (this.#numbers !== undefined) {
      if (rest.length < NONCE_BYTES) {
        this.#keep(rest);
        return;
      }
      const nonce = rest.subarray(0, NONCE_BYTES);
      this.#socket.write(createHash('md5').update(this.#numbers).update(nonce).digest());
      this.#numbers = undefined;
      disarm(this);
      rest = rest.subarray(NONCE_BYTES);
      from = 0;
      this.#events.opened();
    }
    this.#take(rest, from);
  }

  /** @param from where the end of the first message is looked for */
  #take(bytes: Buffer, from: number): void {
    let rest = bytes;
    let at = from;
    while (rest.length > 0 && !this.#isOver && !this.#isPaused) {
      if (rest[0] === FRAME_END) {
        if (rest.length > 1) this.end();
        break;
      }
      if (rest[0] !== FRAME_START) {
        this.destroy();
        return;
      }
      const end = rest.indexOf(FRAME_END, Math.max(1, at));
      if (end < 0) break;
      this.#traffic.framesIn++;
      this.#events.text(rest.toString('utf8', 1, end));
      rest = rest.subarray(end + 1);
      at = 0;
    }
    this.#keep(rest);
  }

  /** For the next chunk: what is not a whole message. */
  #keep(rest: Buffer): void {
    if (rest.length > this.#maxMessage + 2 && !this.#isPaused) {
      this.#events.tooLong();
    } else if (rest.length !== this.#gathered.length) {
      this.#gathered.clear();
      if (rest.length > 0) this.#gathered.append(rest);
    }
  }

  #over(wasClean: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#events.closed(wasClean);
  }
}

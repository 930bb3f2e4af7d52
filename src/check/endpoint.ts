/**
 * One fuzzing connection after its opening handshake: sends frames lawful or not, in chops as small as wanted,
 * reads the peer's answers strictly, and keeps who closed what and how (RFC 6455 §5.5.1, §7).
 */
import { isUtf8 } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { Compressor, Decompressor, type DeflateSettings } from './deflate.ts';
import { freshEnding } from './ending.ts';
import {
  encodeFrame,
  encodeFrames,
  type Frame,
  FrameParser,
  type FrameSpec,
  fragment,
  headerOf,
  Opcode,
  randomMaskKey,
  Violation,
} from './frames.ts';
import type { WireLog } from './wire-log.ts';

export interface EndpointListener {
  onMessage(data: Buffer, isBinary: boolean): void;
  onPing(data: Buffer): void;
  onPong(data: Buffer): void;
  /** Something did not come within `ms`. Called before anything is done about it. */
  onLate(ms: number): void;
  /** The TCP connection is gone. Called once, last. */
  onLost(): void;
}

export interface SendOptions {
  /** Writes this many octets at a time, each on its own turn of the event loop. */
  chop?: number;
  /** Writes it at once and lets the event loop turn before anything else is written. */
  sync?: boolean;
}

export interface EndpointOptions {
  role: 'server' | 'client';
  deflate: DeflateSettings | undefined;
  /** Factor on every time limit. */
  patience: number;
  log: WireLog;
}

/** RFC 6455 §7.4 and IANA's registry: what may stand in a close frame. */
function isCloseCodeValid(code: number): boolean {
  if (code >= 3000) return code < 5000;
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}

export class Endpoint {
  readonly role: 'server' | 'client';
  readonly ending = freshEnding();
  readonly log: WireLog;
  readonly deflate: DeflateSettings | undefined;
  /** The first rule that the peer broke. */
  violation: Violation | undefined;
  state: 'open' | 'closing' | 'closed' = 'open';
  /** Where set, messages are sent in frames of this many octets. */
  autoFragmentSize = 0;
  /** Octets that came behind the opening handshake. */
  receivedOctets = 0;
  /** Payload octets of messages before and after compression, sent and received. */
  readonly traffic = { sentMessages: 0, sentPayload: 0, receivedMessages: 0, receivedPayload: 0 };

  readonly #socket: Duplex;
  readonly #listener: EndpointListener;
  readonly #patience: number;
  readonly #parser: FrameParser;
  readonly #compressor: Compressor | undefined;
  readonly #decompressor: Decompressor | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #queue: { data: Buffer; sync: boolean }[] = [];
  #queueHead = 0;
  #isPumping = false;
  #fragments: Buffer[] = [];
  #message: { opcode: number; isCompressed: boolean } | undefined;
  #closeWasReceived = false;

  constructor(socket: Duplex, listener: EndpointListener, options: EndpointOptions) {
    this.#socket = socket;
    this.#listener = listener;
    this.role = options.role;
    this.deflate = options.deflate;
    this.log = options.log;
    this.#patience = options.patience;
    this.#compressor = options.deflate && new Compressor(options.deflate.own);
    this.#decompressor = options.deflate && new Decompressor(options.deflate.peer);
    this.#parser = new FrameParser({
      isMaskRequired: options.role === 'server',
      hasDeflate: options.deflate !== undefined,
      onFrame: (frame) => this.#onFrame(frame),
    });
  }

  /** Begins to read; `rest` came in one piece with the peer's handshake. */
  start(rest: Buffer): void {
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    this.#socket.on('error', (error) => this.log.note(`the socket failed: ${error.message}`));
    this.#socket.on('close', () => this.#onSocketClose());
    if (this.#socket.destroyed) {
      this.#onSocketClose();
      return;
    }
    if (rest.length > 0) this.#onData(rest);
    this.#socket.resume();
  }

  sendFrame(frame: FrameSpec, options: SendOptions = {}): void {
    this.#write(encodeFrame(this.#mask(frame)), options);
  }

  /** Sends only the head of a frame; its octets follow by sendRaw. An all-zero mask keeps them as they are. */
  sendHeader(opcode: number, length: number): void {
    const frame: FrameSpec = { opcode, claimedLength: BigInt(length) };
    if (this.role === 'client') frame.maskKey = Buffer.alloc(4);
    this.log.sentFrame(frame);
    this.#write(headerOf(frame), {});
  }

  sendRaw(data: Buffer): void {
    this.#write(data, {});
  }

  /**
   * Sends a message, compressed where that was agreed, in fragments of `size` octets where given. `compressed` is
   * the message where it has been compressed before; the compressor knows nothing of it.
   */
  sendMessage(data: Buffer, isBinary: boolean, size = this.autoFragmentSize, compressed?: Buffer): void {
    const payload = compressed ?? this.#compressor?.compress(data) ?? data;
    this.traffic.sentMessages += data.length;
    this.traffic.sentPayload += payload.length;
    const opcode = isBinary ? Opcode.binary : Opcode.text;
    const first: FrameSpec = { opcode, payload, rsv: this.#compressor ? 4 : 0 };
    const frames = size > 0 ? fragment(first, size) : [first];
    this.#write(encodeFrames(frames.map((frame) => this.#mask(frame))), {});
  }

  /** Compresses as the next message would be, for cases that frame it themselves. */
  compress(data: Buffer): Buffer {
    if (!this.#compressor) throw new Error('permessage-deflate was not agreed on');
    return this.#compressor.compress(data);
  }

  /** Starts the closing handshake, unless that was done before. The reason need not be valid. */
  sendClose(code?: number, reason: Buffer = Buffer.alloc(0)): void {
    if (this.state === 'open') this.#sendCloseFrame(code, reason, false);
  }

  /** Runs `action` after `ms`, unless the connection is gone by then. */
  continueLater(ms: number, action: () => void, tag = ''): void {
    this.log.note(`waits ${ms} ms${tag && ` (${tag})`}`);
    this.#after(ms, () => {
      this.log.note(`waited ${ms} ms${tag && ` (${tag})`}`);
      action();
    });
  }

  /** Fails the connection after `ms` × patience, as what should have ended it has not. */
  killAfter(ms: number): void {
    const limit = ms * this.#patience;
    this.#after(limit, () => {
      this.#listener.onLate(limit);
      this.log.note('fails the connection: time is up');
      this.#fail(1001, 'time is up');
    });
  }

  /** Starts the closing handshake after `ms` × patience. */
  closeAfter(ms: number): void {
    const limit = ms * this.#patience;
    this.#after(limit, () => {
      if (this.state !== 'open') return;
      this.#listener.onLate(limit);
      this.log.note('closes: time is up');
      this.sendClose();
    });
  }

  /** What the closing handshake waits for; undefined before it has begun. */
  get awaited(): string | undefined {
    if (this.state === 'open') return undefined;
    if (this.state === 'closed') return 'the peer to close its side of the TCP connection';
    if (!this.#closeWasReceived) return "the peer's Close frame";
    return 'the server to close the TCP connection (§7.1.1)';
  }

  get patience(): number {
    return this.#patience;
  }

  /** The time that each step of the closing handshake has. */
  get #second(): number {
    return 1000 * this.#patience;
  }

  /** As the role demands, unless the frame says by itself whether it is masked. */
  #mask(frame: FrameSpec): FrameSpec {
    const masked =
      this.role === 'client' && !('maskKey' in frame) ? { ...frame, maskKey: randomMaskKey() } : frame;
    this.log.sentFrame(masked);
    return masked;
  }

  #after(ms: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.state !== 'closed') action();
    }, ms);
    this.#timers.add(timer);
  }

  #write(data: Buffer, { chop, sync = false }: SendOptions): void {
    if (chop === undefined) {
      this.#queue.push({ data, sync });
    } else {
      for (let at = 0; at < data.length; at += chop) {
        this.#queue.push({ data: data.subarray(at, at + chop), sync: true });
      }
    }
    if (!this.#isPumping) this.#pump();
  }

  #pump(): void {
    const socket = this.#socket;
    while (this.#queueHead < this.#queue.length) {
      const { data, sync } = this.#queue[this.#queueHead++]!;
      if (socket.destroyed || socket.writableEnded) continue;
      this.log.octets('sent', data);
      if (sync) {
        while (socket.writableCorked > 0) socket.uncork();
        socket.write(data);
        this.#isPumping = true;
        setImmediate(() => this.#pump());
        return;
      }
      if (socket.writableCorked === 0) {
        socket.cork();
        process.nextTick(() => {
          while (socket.writableCorked > 0) socket.uncork();
        });
      }
      socket.write(data);
    }
    this.#queue.length = 0;
    this.#queueHead = 0;
    this.#isPumping = false;
  }

  #onData(chunk: Buffer): void {
    this.log.octets('received', chunk);
    this.receivedOctets += chunk.length;
    if (this.state === 'closed' || this.violation) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      this.violation = error;
      this.log.note(`the peer broke the protocol: ${error.message}`);
      this.#fail(error.closeCode, error.message);
    }
  }

  #onFrame(frame: Frame): void {
    this.log.receivedFrame(frame);
    if (this.state === 'closed') return;
    if (this.#closeWasReceived && frame.opcode < 8) {
      throw new Violation(1002, 'a data frame after its Close frame, §5.5.1');
    }
    if (frame.opcode === Opcode.close) this.#onCloseFrame(frame.payload);
    else if (frame.opcode === Opcode.ping) this.#listener.onPing(frame.payload);
    else if (frame.opcode === Opcode.pong) this.#listener.onPong(frame.payload);
    else this.#onDataFrame(frame);
  }

  #onDataFrame(frame: Frame): void {
    if (frame.opcode !== Opcode.continuation) {
      this.#message = { opcode: frame.opcode, isCompressed: frame.rsv === 4 };
    }
    this.#fragments.push(frame.payload);
    if (!frame.fin) return;
    const { opcode, isCompressed } = this.#message!;
    const payload = this.#fragments.length === 1 ? this.#fragments[0]! : Buffer.concat(this.#fragments);
    this.#fragments = [];
    const data = isCompressed ? this.#decompressor!.decompress(payload) : payload;
    this.traffic.receivedMessages += data.length;
    this.traffic.receivedPayload += payload.length;
    if (opcode === Opcode.text && !isUtf8(data)) {
      throw new Violation(1007, 'a text message that is not UTF-8, §8.1');
    }
    this.#listener.onMessage(data, opcode === Opcode.binary);
  }

  #onCloseFrame(payload: Buffer): void {
    if (this.#closeWasReceived) return;
    this.#closeWasReceived = true;
    const { ending } = this;
    const shown = `payload 0x${payload.toString('hex')}`;
    if (payload.length === 1) throw new Violation(1002, `a Close frame with one octet, §5.5.1 (${shown})`);
    if (payload.length >= 2) {
      ending.remoteCloseCode = payload.readUInt16BE(0);
      ending.remoteCloseReason = payload.toString('utf8', 2);
      if (!isCloseCodeValid(ending.remoteCloseCode)) {
        throw new Violation(1002, `close code ${ending.remoteCloseCode}, §7.4 (${shown})`);
      }
      if (!isUtf8(payload.subarray(2))) {
        throw new Violation(1007, `a close reason that is not UTF-8, §5.5.1 (${shown})`);
      }
    }
    ending.wasClean = true;
    if (this.state === 'open') {
      this.#sendCloseFrame(ending.remoteCloseCode ?? undefined, Buffer.alloc(0), true);
    }
    this.#clearTimers();
    if (this.role === 'server') {
      this.#drop();
    } else {
      // §7.1.1: the server should close the TCP connection first. The closing is clean without that, too (§7.1.4).
      this.#after(this.#second, () => {
        ending.wasServerConnectionDropTimeout = true;
        this.#listener.onLate(this.#second);
        this.#drop();
      });
    }
  }

  #sendCloseFrame(code: number | undefined, reason: Buffer, isReply: boolean): void {
    const codeOctets = Buffer.alloc(code === undefined ? 0 : 2);
    if (code !== undefined) codeOctets.writeUInt16BE(code);
    this.sendFrame({ opcode: Opcode.close, payload: Buffer.concat([codeOctets, reason]) });
    this.state = 'closing';
    this.ending.closedByMe = !isReply;
    this.ending.localCloseCode = code ?? null;
    this.ending.localCloseReason = reason.length > 0 ? reason.toString('latin1') : null;
    if (isReply) return;
    this.#after(this.#second, () => {
      if (this.#closeWasReceived) return;
      this.#listener.onLate(this.#second);
      this.ending.wasCloseHandshakeTimeout = true;
      this.ending.wasNotCleanReason = 'the peer did not answer the Close frame';
      this.#drop();
    });
  }

  #fail(code: number, reason: string): void {
    if (this.state === 'closed') return;
    this.ending.failedByMe = true;
    if (!this.ending.wasClean) this.ending.wasNotCleanReason ??= reason;
    if (this.state === 'open') this.#sendCloseFrame(code, Buffer.alloc(0), false);
    else this.#drop();
  }

  #drop(): void {
    if (this.state === 'closed') return;
    this.state = 'closed';
    this.ending.droppedByMe = true;
    this.#clearTimers();
    this.#socket.end();
    // A peer that never closes its side must not keep the case open.
    const timer = setTimeout(() => this.#socket.destroy(), 2000);
    this.#socket.once('close', () => clearTimeout(timer));
  }

  #clearTimers(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #onSocketClose(): void {
    this.state = 'closed';
    this.#clearTimers();
    if (!this.ending.wasClean) {
      this.ending.wasNotCleanReason ??= 'the peer dropped the TCP connection without a closing handshake';
    }
    this.#listener.onLost();
  }
}

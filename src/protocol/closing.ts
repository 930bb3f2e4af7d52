/**
 * The closing handshake of one connection (RFC 6455 §7) and what its pings are owed (§5.5.2), without I/O.
 *
 * It is told what happens, and answers with the payload of the frame to send, if one is due
 * (index.ts shows how).
 */
import type { ProtocolError } from './errors.ts';
import { encodeClosePayload, MAX_REASON } from './frame-writer.ts';

/** The states of the browser's WebSocket. A connection begins open, when its opening handshake is done. */
export const OPEN = 1;
/** The closing handshake has begun. */
export const CLOSING = 2;
/** It is over. */
export const CLOSED = 3;

const EMPTY = Buffer.alloc(0);

/** The closing handshake of one side (§7.1): what was sent, what came, and what is to be answered. */
export class Closing {
  /** Where the handshake is: open, closing or closed. */
  state: typeof OPEN | typeof CLOSING | typeof CLOSED = OPEN;
  /** What the connection ended with: 1006 until a close frame comes, 1005 for one without a code (§7.1.5). */
  code = 1006;
  /** The reason that goes with the code; empty where there is none. */
  reason = '';
  /** Our close frame has been written: nothing may follow it (§5.5.1). */
  isSent = false;
  /** The peer's close frame has come. */
  isReceived = false;
  /** Nothing more is read: the peer's close frame or an error has come. */
  isDeaf = false;
  #pong: Buffer | null = null;

  /** Both close frames were exchanged. */
  get wasClean(): boolean {
    return this.isSent && this.isReceived;
  }

  /** Our close frame is written and nothing is to come: end the transport (§7.1.1). */
  get isComplete(): boolean {
    return this.isSent && this.isDeaf;
  }

  /**
   * We begin (§7.1.2). While open only; later there is nothing to send.
   *
   * @returns the payload of our close frame
   * @throws {TypeError | RangeError} for a code or reason that can't be sent; nothing has changed then
   */
  begin(code?: number, reason?: string | Uint8Array): Buffer | undefined {
    if (this.state !== OPEN) return undefined;
    const payload = encodeClosePayload(code, reason);
    this.state = CLOSING;
    return payload;
  }

  /**
   * We give the connection up, with a code that the peer may never confirm: `code` and `reason` are what it
   * ended with unless its own close frame still comes.
   */
  giveUp(code: number, reason: string): Buffer | undefined {
    if (!this.isReceived) {
      this.code = code;
      this.reason = reason;
    }
    return this.begin(code, reason);
  }

  /**
   * The peer's close frame has come (§5.5.1): code and reason are its own.
   *
   * @returns the payload of our answer, which repeats its code and reason, unless ours was sent or is on its way
   */
  receive(code: number, reason: string): Buffer | undefined {
    this.isReceived = true;
    this.isDeaf = true;
    this.code = code;
    this.reason = reason;
    if (this.state !== OPEN) return undefined;
    this.state = CLOSING;
    return echo(code, reason);
  }

  /**
   * The peer broke the protocol (§7.1.7).
   *
   * @returns the payload of the close frame that says so
   */
  fail(error: ProtocolError): Buffer | undefined {
    this.isDeaf = true;
    return this.begin(error.closeCode);
  }

  /** The transport has ended, or is being ended: no more can be sent. */
  lose(): void {
    if (this.state === OPEN) this.state = CLOSING;
  }

  /** A pong with this payload is due as soon as something can be sent; the newest ping is the one to answer (§5.5.3). */
  owePong(payload: Buffer): void {
    this.#pong = payload;
  }

  /** The payload of the pong that is due, once. */
  takePong(): Buffer | null {
    const pong = this.#pong;
    if (pong === null) return null;
    this.#pong = null;
    return this.state === OPEN ? pong : null;
  }
}

/** A reason that was not checked for UTF-8 may have grown when it was decoded, or not be one any more. */
function echo(code: number, reason: string): Buffer {
  if (code === 1005) return EMPTY;
  return encodeClosePayload(code, Buffer.byteLength(reason) > MAX_REASON ? '' : reason);
}

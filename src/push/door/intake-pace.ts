/**
 * How fast sessions may send. Who has sent a second's worth at once is not read from until the budget allows: the peer
 * has to wait, and loses nothing. One timer for all, and none while nobody is over.
 */
import { clearInterval, monotonicNow, setInterval } from '../../clock.ts';
import type { Limits } from '../options.ts';
import type { Session } from '../pages/session.ts';

/** Milliseconds' worth of frames, or of bytes, that a session may send at once. */
const BURST = 1000;
/** It is read from again when this much of that is there. */
const RESTED = 100;
/** A frame costs no more milliseconds than this, however long it is: its page has heartbeats to keep. */
const LONGEST = 10_000;
const INTERVAL = 20;

export class IntakePace {
  /** Milliseconds that a frame, or a byte, takes of a session's time. */
  readonly #perFrame: number;
  readonly #perByte: number;
  /** Who is not read from, until when on the monotonic clock. */
  readonly #waiting = new Map<Session, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ messagesPerSecond, bytesPerSecond }: Pick<Limits, 'messagesPerSecond' | 'bytesPerSecond'>) {
    this.#perFrame = messagesPerSecond > 0 ? 1000 / messagesPerSecond : 0;
    this.#perByte = bytesPerSecond > 0 ? 1000 / bytesPerSecond : 0;
  }

  /** A frame has come. False if it comes although the session has to wait: it is not to be obeyed. */
  admit(session: Session, bytes: number): boolean {
    if (session.isHeldUp) return false;
    const now = monotonicNow();
    session.framesUntil = Math.max(now, session.framesUntil) + this.#perFrame;
    session.bytesUntil = Math.max(now, session.bytesUntil) + Math.min(LONGEST, this.#perByte * bytes);
    const isOver = session.framesUntil + this.#perFrame > now + BURST || session.bytesUntil > now + BURST;
    // What comes while it is being closed must not hide its part of the closing handshake.
    if (isOver && session.transport.readyState !== 1) return false;
    if (isOver) this.#holdUp(session, Math.max(session.framesUntil, session.bytesUntil) - BURST + RESTED);
    return true;
  }

  /** It has gone, or is on its way out: its part of the closing handshake is to be read. */
  forget(session: Session): void {
    if (this.#waiting.delete(session)) session.transport.resume();
  }

  #holdUp(session: Session, until: number): void {
    session.isHeldUp = true;
    session.transport.pause();
    this.#waiting.set(session, until);
    this.#timer ??= setInterval(() => this.#look(), INTERVAL);
  }

  #look(): void {
    const now = monotonicNow();
    for (const [session, until] of this.#waiting) {
      // In time for its part of the closing handshake.
      if (now < until && session.transport.readyState === 1) continue;
      this.#waiting.delete(session);
      session.isHeldUp = false;
      session.transport.resume();
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

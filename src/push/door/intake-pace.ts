/**
 * How fast sessions may send. Who has sent a second's worth at once is not read from until the budget allows: the peer
 * has to wait, and loses nothing. One timer for all, and none while nobody is over.
 *
 * And of all that many send together, what takes long is obeyed one by one, with a turn of the event loop for everybody
 * else in between.
 */
import { clearInterval, monotonicNow, setImmediate, setInterval } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import type { Limits } from '../options.ts';
import type { Session } from '../pages/session.ts';

/** Milliseconds' worth of frames, or of bytes, that a session may send at once. */
const BURST = 1000;
/** It is read from again when this much of that is there. */
const RESTED = 100;
/** A frame costs no more milliseconds than this, however long it is: its page has heartbeats to keep. */
const LONGEST = 10_000;
const INTERVAL = 20;
/** An array or object in JSON takes as long as so many bytes of text. */
const NESTED = 64;
/** Shorter frames are not looked through for these. */
const SHORT = 1024;
/** From so many bytes on a frame has a turn of the event loop. */
const LONG = 16 * 1024;

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

interface Late {
  session: Session;
  data: Buffer;
  obey: (data: Buffer) => void;
}

export class IntakePace {
  readonly #limits: Pick<Limits, 'messagesPerSecond' | 'bytesPerSecond'>;
  /** Who is not read from, until when on the monotonic clock. */
  readonly #waiting = new Map<Session, number>();
  #timer: NodeJS.Timeout | undefined;
  readonly #late = new Queue<Late>();
  /** A long frame was obeyed in this turn. */
  #isTaken = false;

  constructor(limits: Pick<Limits, 'messagesPerSecond' | 'bytesPerSecond'>) {
    this.#limits = limits;
  }

  /** A frame has come. False if it comes although the session has to wait: it is not to be obeyed. */
  admit(session: Session, data: Buffer): boolean {
    if (session.isHeldUp) return false;
    // Milliseconds that a frame, or a byte, takes of a session's time.
    const { messagesPerSecond, bytesPerSecond } = this.#limits;
    const perFrame = messagesPerSecond > 0 ? 1000 / messagesPerSecond : 0;
    const perByte = bytesPerSecond > 0 ? 1000 / bytesPerSecond : 0;
    const isLooked = perByte > 0 && session.isTidings && data.length > SHORT;
    const bytes = data.length + (isLooked ? NESTED * nestedIn(data) : 0);
    const now = monotonicNow();
    session.framesUntil = Math.max(now, session.framesUntil) + perFrame;
    session.bytesUntil = Math.max(now, session.bytesUntil) + Math.min(LONGEST, perByte * bytes);
    const isOver = session.framesUntil + perFrame > now + BURST || session.bytesUntil > now + BURST;
    // What comes while it is being closed must not hide its part of the closing handshake.
    if (isOver && session.transport.readyState !== 1) return false;
    if (isOver) this.#holdUp(session, Math.max(session.framesUntil, session.bytesUntil) - BURST + RESTED);
    return true;
  }

  /** Obeys a frame now, or a copy of it in its turn; nothing more is read from the session before that. */
  inTurn(session: Session, data: Buffer, obey: (data: Buffer) => void): void {
    const isLong = data.length >= LONG;
    if (session.queued === 0 && !(isLong && this.#isTaken)) {
      if (isLong) this.#take();
      obey(data);
      return;
    }
    session.queued++;
    session.transport.pause();
    this.#late.add({ session, data: Buffer.from(data), obey });
  }

  #take(): void {
    this.#isTaken = true;
    setImmediate(() => {
      this.#isTaken = false;
      const late = this.#late.take();
      if (late === undefined) return;
      this.#take();
      const { session, data, obey } = late;
      session.queued--;
      obey(data);
      if (!session.isHeldUp && session.queued === 0) session.transport.resume();
    });
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
      if (session.queued === 0) session.transport.resume();
    }
    if (this.#waiting.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** How many arrays and objects, or more where text has brackets. */
function nestedIn(data: Buffer): number {
  let count = 0;
  for (let i = 0; i < data.length; i++) {
    const byte = data[i];
    if (byte === OPEN_BRACKET || byte === OPEN_BRACE) count++;
  }
  return count;
}

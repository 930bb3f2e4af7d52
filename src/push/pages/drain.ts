/** Sends an instance's sessions away without a stampede: told first, closed in batches, cut at the end. */
import { monotonicNow, setTimeout } from '../../clock.ts';
import { CloseCode } from '../talk/wire.ts';
import type { Session } from './session.ts';

const BATCH_INTERVAL = 50;
/** The part of the time in which clients are to go by themselves; the rest is for those who don't. */
export const OWN_ACCORD = 0.6;
const CLOSING_PART = 0.2;
/** What closing handshakes get where no time was given, in milliseconds. */
const LAST_CALL = 500;
/** For pages in plain mode (RFC 6455 §7.4, IANA). */
const SERVICE_RESTART = 1012;

export class Drain {
  /** Milliseconds that it may take, as those are told who knock meanwhile. */
  readonly time: number;
  readonly #sessions: Iterable<Session> & { readonly size: number };
  readonly #start = monotonicNow();

  /** @param sessions those that are still there, whenever it is iterated */
  constructor(sessions: Iterable<Session> & { readonly size: number }, time: number) {
    this.#sessions = sessions;
    this.time = time;
  }

  /** Tells a client over how many milliseconds all of them spread: what is left of the window, if anything. */
  tell(session: Session): void {
    const window = Math.floor(this.#windowEnd - monotonicNow());
    if (window > 0) session.sendFrame({ type: 'drain', window });
  }

  /** Resolves when no session is left, at the latest after `time` (or half a second, if that is less). */
  async run(): Promise<void> {
    const sessions = this.#sessions;
    // Who has not said hello yet is told then.
    for (const session of sessions) if (session.isTidings && session.phase !== 'new') this.tell(session);
    // Pages in plain mode can't be asked to go, so they are closed over the whole window.
    const plain = [...sessions].filter((session) => !session.isTidings);
    await closeInBatches(plain, this.#windowEnd);
    while (sessions.size > 0 && monotonicNow() < this.#windowEnd) await tick();
    await closeInBatches([...sessions], this.#windowEnd + this.time * CLOSING_PART);
    const end = this.#start + Math.max(this.time, LAST_CALL);
    while (sessions.size > 0 && monotonicNow() < end) {
      // Handshakes that were under way can still have become sessions.
      for (const session of sessions) if (session.transport.readyState === 1) dismiss(session);
      await tick();
    }
    for (const session of sessions) session.terminate();
    const gone = monotonicNow() + LAST_CALL;
    while (sessions.size > 0 && monotonicNow() < gone) await tick();
  }

  get #windowEnd(): number {
    return this.#start + Math.floor(this.time * OWN_ACCORD);
  }
}

async function closeInBatches(sessions: Session[], deadline: number): Promise<void> {
  let next = 0;
  while (next < sessions.length) {
    const batches = Math.max(1, Math.ceil((deadline - monotonicNow()) / BATCH_INTERVAL));
    const end = next + Math.ceil((sessions.length - next) / batches);
    for (; next < end; next++) dismiss(sessions[next]!);
    if (next < sessions.length) await tick();
  }
}

function dismiss(session: Session): void {
  session.close(comeAgainCode(session), 'this instance is going');
}

/** With what a session is closed whose page is to come again, to another instance perhaps. */
export function comeAgainCode({ isTidings }: Session): number {
  return isTidings ? CloseCode.DRAIN : SERVICE_RESTART;
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, BATCH_INTERVAL));
}

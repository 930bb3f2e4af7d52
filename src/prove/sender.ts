/** Sends numbered messages to one user, one after another, and knows which of them the server has accepted. */
import { pause } from '../waiting.ts';
import { type Adapter, RefusedError } from './adapter.ts';
import type { Payloads } from './payload.ts';

/** What happens to the connections of the user's pages about the time that a message is sent. */
export interface Timing {
  before?(): void;
  /** When the request is on its way. */
  during?(): void;
  /** When it was accepted. */
  after?(): void;
}

export interface SenderCounts {
  accepted: number;
  /** Tries that failed and were made again. */
  repeated: number;
  /** Messages that nobody knows the fate of: they need not come, and may. */
  unanswered: number;
}

/** Milliseconds that an attempt may take. */
const PATIENCE = 5000;
/** Milliseconds from a failure to the next try. */
const PAUSE = 25;

export class Sender {
  readonly user: string;
  /** The moment of acceptance by number, by `performance.now()`; nothing where it was not accepted. */
  readonly acceptedAt: number[] = [];
  /** Sent, and without an answer. */
  readonly open = new Set<number>();
  readonly counts: SenderCounts = { accepted: 0, repeated: 0, unanswered: 0 };
  /** The last one that was accepted. */
  last = 0;
  /** The one that is under way, or that was sent the last. */
  current = 0;
  /** Why the last try has failed; empty once one was accepted after it. */
  lastFailure = '';
  /** The server takes nothing from here. */
  isRefused = false;
  readonly #adapter: Adapter;
  readonly #payloads: Payloads;
  readonly #run: string;
  #isOver = false;
  #attempt: AbortController | undefined;
  #underWay: Promise<boolean> | undefined;

  constructor(adapter: Adapter, user: string, run: string, payloads: Payloads) {
    this.#adapter = adapter;
    this.user = user;
    this.#run = run;
    this.#payloads = payloads;
  }

  /** What is under way is given up, and nothing more is sent. */
  end(): void {
    this.#isOver = true;
    this.#attempt?.abort(new Error('the run is over'));
  }

  /** Sends the next message, or waits for the one that is under way. Resolves when it is accepted, or given up: false. */
  next(timing: Timing = {}): Promise<boolean> {
    this.#underWay ??= this.#next(timing).finally(() => {
      this.#underWay = undefined;
    });
    return this.#underWay;
  }

  async #next({ before, during, after }: Timing): Promise<boolean> {
    const n = ++this.current;
    before?.();
    const isAccepted = await this.#send(n, during);
    if (isAccepted) {
      this.acceptedAt[n] = performance.now();
      this.counts.accepted++;
      this.last = n;
      after?.();
    } else {
      this.open.add(n);
      this.counts.unanswered++;
    }
    return isAccepted;
  }

  async #send(n: number, during: (() => void) | undefined): Promise<boolean> {
    const message = {
      user: this.user,
      n,
      text: this.#payloads.textOf(this.user, n),
      key: `${this.#run}-${this.user}-${n}`,
    };
    for (;;) {
      if (this.#isOver) return false;
      const attempt = new AbortController();
      this.#attempt = attempt;
      const limit = setTimeout(() => attempt.abort(new Error(`no answer in ${PATIENCE} ms`)), PATIENCE);
      try {
        const sending = this.#adapter.send(message, attempt.signal);
        during?.();
        during = undefined;
        await Promise.race([sending, abortion(attempt.signal)]);
        this.lastFailure = '';
        return true;
      } catch (error) {
        if (this.#isOver) return false;
        this.lastFailure = error instanceof Error ? error.message : String(error);
        this.isRefused ||= error instanceof RefusedError && this.last === 0;
      } finally {
        clearTimeout(limit);
        this.#attempt = undefined;
      }
      if (this.isRefused) return false;
      await pause(PAUSE);
      if (!this.#adapter.repeats) return false;
      this.counts.repeated++;
    }
  }
}

/** Rejects when the signal is aborted. */
function abortion(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

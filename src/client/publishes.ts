/** Publishes on their way: each is asked for until it is answered, always with the same idempotency key. */
import type { ErrorCode, Publish, Published } from '../push/talk/wire.ts';

/** Waiting for an answer; more are refused. */
const MAX_UNDER_WAY = 1_000;
/** Milliseconds before asking again where the server's store was away. */
const RETRY_DELAY = 2_000;

interface UnderWay {
  frame: Publish;
  resolve(published: Published): void;
  reject(error: Error): void;
}

export class Publishes {
  readonly #send: (frame: Publish) => void;
  readonly #underWay = new Map<string, UnderWay>();
  #refs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send does nothing where there is no connection */
  constructor(send: (frame: Publish) => void) {
    this.#send = send;
  }

  add(channel: string, data: unknown, idempotencyKey: string): Promise<Published> {
    if (this.#underWay.size >= MAX_UNDER_WAY)
      return Promise.reject(
        new Error(`can't publish to ${channel}: ${MAX_UNDER_WAY} publishes are under way`),
      );
    const ref = String(++this.#refs);
    const frame: Publish = { type: 'publish', channel, data, ref, idempotencyKey };
    return new Promise((resolve, reject) => {
      this.#underWay.set(ref, { frame, resolve, reject });
      this.#send(frame);
    });
  }

  answered(published: Published): void {
    this.#take(published.ref)?.resolve(published);
  }

  /** Returns false if it was none of these that was refused. */
  refused(ref: string | undefined, code: ErrorCode, error: Error): boolean {
    if (ref === undefined || !this.#underWay.has(ref)) return false;
    if (code === 'unavailable') this.#timer ??= setTimeout(() => this.again(), RETRY_DELAY);
    else this.#take(ref)?.reject(error);
    return true;
  }

  /** There is a connection again, or the store may be back. */
  again(): void {
    this.#stop();
    for (const { frame } of this.#underWay.values()) this.#send(frame);
  }

  close(error: Error): void {
    this.#stop();
    for (const { reject } of this.#underWay.values()) reject(error);
    this.#underWay.clear();
  }

  #take(ref = ''): UnderWay | undefined {
    const publish = this.#underWay.get(ref);
    this.#underWay.delete(ref);
    return publish;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** Publishes on their way: each is asked for until it is answered, always with the same idempotency key. */
import type { ErrorCode, Publish, Published } from '../push/talk/wire.ts';

/** Waiting for an answer; more are refused. */
const MAX_UNDER_WAY = 1_000;
/** Milliseconds before asking again where the server's store was away. */
const RETRY_DELAY = 2_000;

interface UnderWay {
  channel: string;
  text: string;
  /** Handed to a connection that is still there. */
  isSent: boolean;
  resolve(published: Published): void;
  reject(error: Error): void;
}

export class Publishes {
  readonly #send: (frame: () => string | undefined) => void;
  readonly #underWay = new Map<string, UnderWay>();
  /** Refs of those that the server's store did not take. */
  readonly #unavailable = new Set<string>();
  #refs = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send does nothing where there is no connection */
  constructor(send: (frame: () => string | undefined) => void) {
    this.#send = send;
  }

  /** @throws {TypeError} for data that JSON can't say */
  async add(channel: string, data: unknown, idempotencyKey: string): Promise<Published> {
    if (this.#underWay.size >= MAX_UNDER_WAY)
      throw new Error(`can't publish to ${channel}: ${MAX_UNDER_WAY} publishes are under way`);
    const ref = String(++this.#refs);
    const frame: Publish = { type: 'publish', channel, data, ref, idempotencyKey };
    const text = JSON.stringify(frame);
    return new Promise((resolve, reject) => {
      this.#underWay.set(ref, { channel, text, isSent: false, resolve, reject });
      this.#ask(ref);
    });
  }

  answered(published: Published): void {
    this.#take(published.ref)?.resolve(published);
  }

  /** Returns false if it was none of these that was refused. */
  refused(ref: string | undefined, code: ErrorCode, error: Error): boolean {
    if (ref === undefined || !this.#underWay.has(ref)) return false;
    if (code === 'unavailable') {
      this.#unavailable.add(ref);
      this.#timer ??= setTimeout(() => {
        this.#timer = undefined;
        for (const each of this.#unavailable) this.#ask(each);
        this.#unavailable.clear();
      }, RETRY_DELAY);
    } else this.#take(ref)?.reject(error);
    return true;
  }

  /** There is a connection again. */
  again(): void {
    this.#stop();
    for (const ref of this.#underWay.keys()) this.#ask(ref);
  }

  /** The connection is gone, because of a frame that the server finds too long: the longest of these, if any was sent. */
  lost(isTooBig: boolean): void {
    this.#stop();
    let longest: [string, UnderWay] | undefined;
    for (const entry of this.#underWay) {
      if (entry[1].isSent && !(entry[1].text.length <= (longest?.[1].text.length ?? 0))) longest = entry;
      entry[1].isSent = false;
    }
    if (!isTooBig || longest === undefined) return;
    const [ref, { channel }] = longest;
    this.#take(ref)?.reject(
      new RangeError(`can't publish to ${channel}: the server does not take that much`),
    );
  }

  close(error: Error): void {
    this.#stop();
    for (const { reject } of this.#underWay.values()) reject(error);
    this.#underWay.clear();
  }

  #ask(ref: string): void {
    this.#send(() => {
      const publish = this.#underWay.get(ref);
      if (publish !== undefined) publish.isSent = true;
      return publish?.text;
    });
  }

  #take(ref = ''): UnderWay | undefined {
    const publish = this.#underWay.get(ref);
    this.#underWay.delete(ref);
    this.#unavailable.delete(ref);
    return publish;
  }

  #stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#unavailable.clear();
  }
}

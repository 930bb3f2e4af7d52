/**
 * Messages by reference: a log keeps only the application's key (a mail's id), and the data is looked up
 * where it is delivered. Lookups are shared, tried again, and bounded in number and in time, so that one
 * that fails holds up its channel no longer than the timeout says.
 */
import { monotonicNow, setTimeout } from '../../clock.ts';
import { afterReading, Turns } from '../../waiting.ts';
import { encodeData, type Payload } from '../payload.ts';
import { userProblem } from '../talk/names.ts';

/** What a key stands for. */
export interface Resolved {
  /** Whose inbox it belongs into. */
  user: string;
  /** What pages get. */
  data: unknown;
}

/** Looks up what a key stands for; undefined where there is no such thing, which is then left out. */
export type Resolve = (key: string) => Resolved | undefined | Promise<Resolved | undefined>;

/** What a key stands for, as it goes to pages. */
export interface Reference {
  user: string;
  payload: Payload;
}

const DEFAULT_TIMEOUT = 10_000;
const DEFAULT_CACHE = 10_000;
const MAX_CACHED = 10_000;
const MAX_CACHED_BYTES = 64 * 1024 * 1024;
const MAX_CONCURRENT = 64;
const FIRST_RETRY = 100;
const LAST_RETRY = 2_000;

export class References {
  readonly #resolve: Resolve;
  readonly #timeout: number;
  readonly #cacheTime: number;
  readonly #limits: { readonly message: number };
  readonly #failed: (key: string, error: unknown) => void;
  /** In the order of their expiry. */
  readonly #cache = new Map<string, Cached>();
  #cachedBytes = 0;
  readonly #turns = new Turns(MAX_CONCURRENT);

  /** @param options.limits `message`: bytes of the data that a key may stand for */
  constructor(
    options: { resolve: Resolve; timeout?: number; cache?: number; limits: { readonly message: number } },
    failed: (key: string, error: unknown) => void,
  ) {
    this.#resolve = options.resolve;
    this.#timeout = options.timeout ?? DEFAULT_TIMEOUT;
    this.#cacheTime = options.cache ?? DEFAULT_CACHE;
    this.#limits = options.limits;
    this.#failed = failed;
  }

  /**
   * What the key stands for; `undefined` if there is no such thing, it could not be had in time, or is nothing that
   * can be sent. Never rejects.
   */
  load(key: string): Promise<Reference | undefined> {
    const now = monotonicNow();
    for (const [old, { expires }] of this.#cache) {
      const isFull = this.#cache.size >= MAX_CACHED || this.#cachedBytes > MAX_CACHED_BYTES;
      if (expires > now && !isFull) break;
      this.#forget(old);
    }
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached.result;
    const result = this.#inTime(key);
    const entry: Cached = { result, expires: now + this.#timeout + this.#cacheTime, bytes: 0 };
    this.#cache.set(key, entry);
    void result.then((resolved) => {
      if (this.#cache.get(key) !== entry) return;
      if (resolved === undefined) this.#forget(key);
      else {
        entry.bytes = resolved.payload.bytes.length;
        this.#cachedBytes += entry.bytes;
      }
    });
    return result;
  }

  #forget(key: string): void {
    this.#cachedBytes -= this.#cache.get(key)?.bytes ?? 0;
    this.#cache.delete(key);
  }

  async #inTime(key: string): Promise<Reference | undefined> {
    const lookup: Lookup = { isOver: false, lastError: undefined };
    let callOff = (): void => {};
    const over = new Promise<undefined>((resolve) => {
      callOff = afterReading(this.#timeout, () => {
        this.#failed(key, lookup.lastError ?? new Error(`no answer within ${this.#timeout} ms`));
        resolve(undefined);
      });
    });
    const resolved = await Promise.race([this.#attempts(key, lookup, over), over]);
    lookup.isOver = true;
    callOff();
    if (resolved === undefined || resolved === null) return undefined;
    try {
      return this.#encoded(resolved);
    } catch (error) {
      this.#failed(key, error);
      return undefined;
    }
  }

  /** What the application gave may be anything: it is read once, here. */
  #encoded(resolved: Resolved): Reference {
    const { user, data } = resolved;
    const problem = userProblem(user);
    if (problem !== undefined) throw new TypeError(problem);
    const payload = encodeData(data);
    const { length } = payload.bytes;
    const { message: most } = this.#limits;
    if (length > most) {
      throw new RangeError(`${length} bytes are over limits.message, ${most} bytes`);
    }
    return { user, payload };
  }

  async #attempts(key: string, lookup: Lookup, over: Promise<undefined>): Promise<Resolved | undefined> {
    for (let delay = FIRST_RETRY; !lookup.isOver; delay = Math.min(delay * 2, LAST_RETRY)) {
      try {
        return await this.#turns.run(() => {
          // Raced, because a lookup that never answers must not keep its place for ever.
          return lookup.isOver ? undefined : Promise.race([this.#resolve(key), over]);
        });
      } catch (error) {
        lookup.lastError = error;
      }
      await new Promise((resolve) => setTimeout(resolve, delay));
    }
    return undefined;
  }
}

interface Cached {
  result: Promise<Reference | undefined>;
  expires: number;
  /** Once it is there. */
  bytes: number;
}

interface Lookup {
  isOver: boolean;
  lastError: unknown;
}

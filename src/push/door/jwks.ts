/**
 * The keys at a JWKS address (RFC 7517 §5), which change: kept for a while, asked for anew where a token names one that is
 * not among them, but not as often as strangers would like, and kept for longer while the address does not answer.
 */
import { monotonicNow } from '../../clock.ts';
import { inTime } from '../../waiting.ts';
import { explain } from '../explain.ts';
import type { Log } from '../options.ts';
import type { Jose, JoseKeys } from './jose.ts';

export interface JwksOptions {
  url: URL;
  /** Milliseconds after which the keys are asked for again, while those that are there serve on. */
  maxAge: number;
  /** Milliseconds for which keys serve while the address does not answer. */
  keep: number;
  /** Milliseconds that it may take to answer. */
  timeout: number;
}

/** Fetches in one go, and milliseconds until there may be one more. */
const BURST = 5;
const PACE = 10_000;
/** Bytes of an answer, and keys in it. */
const MAX_ANSWER = 256 * 1024;
const MAX_KEYS = 100;
/** Of these kinds there are public keys. `oct` would be a secret that everybody can read. */
const KINDS: unknown[] = ['RSA', 'EC', 'OKP'];

/** The keys can't be had just now; whether the token is good is not known. */
export class KeysAwayError extends Error {}

interface Keys {
  ids: ReadonlySet<unknown>;
  verify: JoseKeys;
  /** When the fetch began that brought them. */
  time: number;
}

export class Jwks {
  readonly #options: JwksOptions;
  /** Why the keys could not be had the last time. */
  #failure: string | undefined;
  #keys: Keys | undefined;
  #fetching: Promise<Keys> | undefined;
  /** Fetches that may begin at once, as of `#filled`. */
  #tokens = BURST;
  #filled = monotonicNow();

  constructor(options: JwksOptions) {
    this.#options = options;
  }

  /**
   * Keys among which the one named `id` is, if the address has it.
   *
   * @param id undefined: the token names none
   * @throws {KeysAwayError} where it does not answer, or may not be asked so soon again
   */
  async keysFor(id: unknown, jose: Jose, log: Log): Promise<JoseKeys> {
    const now = monotonicNow();
    const known = this.#keys;
    const age = known === undefined ? Number.POSITIVE_INFINITY : now - known.time;
    const isKnown = known !== undefined && (id === undefined || known.ids.has(id));
    if (isKnown && age < this.#options.keep) {
      if (age >= this.#options.maxAge) this.#fetch(jose, log)?.catch(() => {});
      return known.verify;
    }
    // One that is under way may bring what was there before the key was.
    const underWay = await this.#fetching?.catch(() => undefined);
    if (underWay?.ids.has(id)) return underWay.verify;
    return (await (this.#fetch(jose, log) ?? reject('it was asked too often'))).verify;
  }

  /** Seconds after which to try again. */
  get retryAfter(): number {
    return Math.ceil(PACE / 1000);
  }

  /** Undefined where it was asked too often. */
  #fetch(jose: Jose, log: Log): Promise<Keys> | undefined {
    if (this.#fetching !== undefined) return this.#fetching;
    const now = monotonicNow();
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#filled) / PACE);
    this.#filled = now;
    if (this.#tokens < 1) return undefined;
    this.#tokens--;
    this.#fetching = this.#ask(jose, log, now).finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  async #ask(jose: Jose, log: Log, time: number): Promise<Keys> {
    try {
      const keys = keysOf(await inTime(this.#options.timeout, this.#answer()));
      this.#keys = {
        ids: new Set(keys.map(({ kid }) => kid)),
        verify: jose.createLocalJWKSet({ keys }),
        time,
      };
      if (this.#failure !== undefined) {
        const { origin, pathname } = this.#options.url;
        log('warn', `there are keys for tokens from ${origin}${pathname} again`, {
          event: 'jwks-back',
          url: `${origin}${pathname}`,
        });
      }
      this.#failure = undefined;
      return this.#keys;
    } catch (error) {
      const why = `${explain(error)}${error instanceof Error && error.cause instanceof Error ? `: ${explain(error.cause)}` : ''}`;
      const { origin, pathname } = this.#options.url;
      if (this.#failure !== why)
        log('warn', `no keys for tokens from ${origin}${pathname}: ${why}`, {
          event: 'jwks-failing',
          url: `${origin}${pathname}`,
          error: why,
        });
      this.#failure = why;
      throw new KeysAwayError('the keys can not be had just now');
    }
  }

  async #answer(): Promise<string> {
    const { url, timeout } = this.#options;
    const response = await fetch(url, {
      headers: { Accept: 'application/jwk-set+json, application/json' },
      // Where the keys come from is configured, and nobody else's to say.
      redirect: 'error',
      signal: AbortSignal.timeout(timeout),
    });
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Error(`HTTP ${response.status}`);
    }
    const chunks: Uint8Array[] = [];
    let length = 0;
    for await (const chunk of response.body ?? []) {
      length += chunk.length;
      if (length > MAX_ANSWER) throw new Error(`more than ${MAX_ANSWER} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  }
}

async function reject(message: string): Promise<never> {
  throw new KeysAwayError(message);
}

type Key = { kid?: unknown } & Record<string, unknown>;

/** @throws {Error} where there is none that can be used: those from before serve on */
export function keysOf(text: string): Key[] {
  const set: unknown = JSON.parse(text);
  const { keys } = (set ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys) || keys.length > MAX_KEYS) throw new Error('that is no JWK set');
  const usable = keys.filter(
    (key: unknown): key is Key =>
      typeof key === 'object' && key !== null && KINDS.includes((key as Key)['kty']) && !('d' in key),
  );
  if (usable.length === 0) throw new Error('a JWK set without public keys');
  return usable;
}

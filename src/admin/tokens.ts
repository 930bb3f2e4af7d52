/** Who may ask the admin API, and for what. A token is only kept as its digest. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { Bucket } from './pace.ts';
import { SCOPES, type Scope } from './route.ts';

export interface AdminToken {
  /** By its place in the list, for log lines: `token-1` is the first. */
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  readonly digest: Buffer;
  /** How often it may ask. */
  readonly pace: Bucket;
}

const ONLY_SCOPES = new RegExp(`^(?:${SCOPES.join('|')})(?:,(?:${SCOPES.join('|')}))*=*$`, 'i');

export class AdminTokens {
  #tokens: readonly AdminToken[] = [];
  readonly #rate: number;

  /**
   * @param texts `[SCOPE[,SCOPE]=]TOKEN` each; without a scope a token may do everything
   * @param rate requests a second of one token; 0: no limit
   * @throws {TypeError} as `set`
   */
  constructor(texts: readonly string[], rate = 0) {
    this.#rate = rate;
    this.set(texts);
  }

  get size(): number {
    return this.#tokens.length;
  }

  /**
   * Takes these in place of those before. A token that was there goes on with what it has used of its rate.
   *
   * @throws {TypeError} for what is none; it does not say what was given, which may be a secret
   */
  set(texts: readonly string[]): void {
    const tokens = texts.map((text, index) => this.#read(text, index + 1));
    for (const [index, { digest }] of tokens.entries()) {
      const first = tokens.findIndex((other) => other.digest.equals(digest));
      if (first !== index) throw new TypeError(`numbers ${first + 1} and ${index + 1} are the same token`);
    }
    this.#tokens = tokens;
  }

  /** The same time is taken, whatever is given and whichever it is. */
  find(given: string): AdminToken | undefined {
    const digest = digestOf(given);
    let found: AdminToken | undefined;
    for (const token of this.#tokens) if (timingSafeEqual(token.digest, digest)) found = token;
    return found;
  }

  #read(text: string, number: number): AdminToken {
    // The padding of base64 is at the end, where nothing follows.
    const [, named, rest] = /^([a-z]+(?:,[a-z]+)*)=(?!=*$)(.*)$/is.exec(text) ?? [];
    const scopes = named === undefined ? [...SCOPES] : named.split(',');
    const secret = rest ?? text;
    if (!scopes.every((scope): scope is Scope => (SCOPES as readonly string[]).includes(scope))) {
      throw new TypeError(
        `what number ${number} has before = is no list of scopes, which are ${SCOPES.join(', ')}; ` +
          `a token that has = in it is given with its scopes: ${SCOPES.join(',')}=TOKEN`,
      );
    }
    if (secret === '' || ONLY_SCOPES.test(secret))
      throw new TypeError(`number ${number} has no token behind its scopes`);
    if (!/^[\x21-\x7e]+$/.test(secret)) {
      throw new TypeError(`number ${number} is not ASCII characters without spaces`);
    }
    const digest = digestOf(secret);
    const known = this.#tokens.find((token) => token.digest.equals(digest));
    return {
      name: `token-${number}`,
      scopes: new Set(scopes),
      digest,
      pace: known?.pace ?? new Bucket(this.#rate),
    };
  }
}

/** Digests have one length. */
function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

/**
 * Until when sessions may stay: each ends with the login that it was opened by, unless that was renewed before.
 *
 * When a login ends is told by a clock on the wall. How long that is from now is looked up once; from there on the
 * monotonic clock counts, so that a wall clock that is set neither ends sessions nor keeps them.
 */
import { monotonicNow } from '../../clock.ts';
import type { Attributes } from '../../server/transport.ts';
import { Wheel } from '../wheel.ts';
import { type Claims, claimsOf } from './claims.ts';
import type { LoginKeeper, Session } from './session.ts';

/** How the end of a login becomes that of its sessions. */
export interface ExpiryOptions {
  /**
   * Milliseconds that a session stays beyond its `expires`, as clocks differ: those of who says it and of this machine.
   * Default 5,000.
   */
  leeway?: number;
  /**
   * What becomes of pages in plain mode, which can't bring a new ticket: `close` with 4501, from which they come back by
   * their own means, or `keep` until they go by themselves. Default `close`.
   */
  plain?: 'close' | 'keep';
}

const DEFAULT_LEEWAY = 5_000;

/** @throws {TypeError} for what makes no sense */
export function checkedExpiry({ leeway, plain }: ExpiryOptions = {}): Required<ExpiryOptions> {
  const expiry = { leeway: leeway ?? DEFAULT_LEEWAY, plain: plain ?? 'close' };
  if (!(Number.isFinite(expiry.leeway) && expiry.leeway >= 0)) {
    throw new TypeError(`expiry.leeway is ${String(leeway)}, and must be a number of milliseconds from 0`);
  }
  if (expiry.plain !== 'close' && expiry.plain !== 'keep') {
    throw new TypeError(`expiry.plain is ${String(plain)}, and must be 'close' or 'keep'`);
  }
  return expiry;
}

export class Logins implements LoginKeeper {
  readonly #options: Required<ExpiryOptions>;
  readonly #limits: { readonly subscriptions: number };
  readonly #wheel: Wheel<Session>;

  readonly reassign: LoginKeeper['reassign'];

  /**
   * @param over the session's login has ended: it is to be sent away, or to get another end; must not throw
   * @param reassign the application names other topics for the session than before
   */
  constructor(
    options: Required<ExpiryOptions>,
    limits: { readonly subscriptions: number },
    over: (session: Session) => void,
    reassign: LoginKeeper['reassign'],
  ) {
    this.reassign = reassign;
    this.#options = options;
    this.#limits = limits;
    this.#wheel = new Wheel(over);
  }

  /** Sessions that will end by themselves. */
  get size(): number {
    return this.#wheel.size;
  }

  /** @throws {ClaimsError} for what can't be said of a session */
  claims(attributes: Attributes): Claims | undefined {
    return claimsOf(attributes, this.#limits.subscriptions);
  }

  /** Whether a login that ends then has ended. */
  isOver(expires: number | undefined): boolean {
    return expires !== undefined && this.left(expires) <= 0;
  }

  /** It has come, or its login ends at another time now. */
  watch(session: Session): void {
    const { expires, isTidings } = session;
    if (expires === undefined || (!isTidings && this.#options.plain === 'keep')) this.#wheel.delete(session);
    else this.#wheel.add(session, monotonicNow() + this.left(expires));
  }

  forget(session: Session): void {
    this.#wheel.delete(session);
  }

  /** Once a second. @param now milliseconds of the monotonic clock */
  sweep(now: number): void {
    this.#wheel.sweep(now);
  }

  /** Milliseconds until something that ends then is over. */
  left(expires: number): number {
    return expires - Date.now() + this.#options.leeway;
  }
}

/** What a running push server takes anew, and what it would have to be started again for. */
import { createSecureContext } from 'node:tls';
import { checkNames, type Names } from '../option-names.ts';
import { withCertificate } from '../server/tls-port.ts';
import { inTime } from '../waiting.ts';
import type { PushServerOptions } from './options.ts';
import { change, changeableOf, type Settings } from './settings.ts';

/**
 * Options of a running server. One that is there replaces what was there before, as a whole: of `limits: { message: 1000 }`,
 * all other limits have their defaults. What is left out, or undefined, stays.
 *
 * Pages that are open stay. For them, too, hold at once: `authorize` and `topicTickets` (from the next question on; what they
 * are subscribed to stays), `retention`, `expiry.leeway` (where a login begins or is renewed), `interceptors` for renewals, and
 * of `limits` all but `outbox`, `sessions…` and a `message` that becomes longer. All else holds for pages that come from then on;
 * of `tls` that is what a `SecureContext` has: certificates, keys, authorities, ciphers.
 */
export type ReloadOptions = Partial<
  Pick<
    PushServerOptions,
    | 'interceptors'
    | 'authorize'
    | 'topicTickets'
    | 'origins'
    | 'proxies'
    | 'refusals'
    | 'expiry'
    | 'heartbeat'
    | 'limits'
    | 'retention'
    | 'topics'
    | 'plainCounts'
    | 'tls'
  >
>;

const RELOADED: Names<ReloadOptions> = {
  interceptors: true,
  authorize: true,
  topicTickets: true,
  origins: true,
  proxies: true,
  refusals: true,
  expiry: true,
  heartbeat: true,
  limits: true,
  retention: true,
  topics: true,
  plainCounts: true,
  tls: true,
};

/** Milliseconds that new interceptors have to get ready. */
const PATIENCE = 10_000;

export class Reloads {
  readonly #settings: Settings;
  readonly #changed: (changes: ReloadOptions) => void;
  /** From the start, as instances would have to tell each other from then on. */
  readonly #watchesPresence: boolean;
  #options: PushServerOptions;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * @param options what the server was started with
   * @param settings the same, checked; what is taken anew is changed there
   * @param changed called with what was taken
   */
  constructor(options: PushServerOptions, settings: Settings, changed: (changes: ReloadOptions) => void) {
    this.#options = options;
    this.#settings = settings;
    this.#changed = changed;
    this.#watchesPresence = settings.rules.authorize.presence !== undefined;
  }

  /**
   * From here on these options hold, and those that were there before where they say nothing. One call after the other.
   *
   * @param isTrial only look whether that is possible
   * @throws {TypeError} or {RangeError} for what can't be; then nothing has changed. What an interceptor's `ready` rejects with
   */
  reload(changes: ReloadOptions, isTrial: boolean): Promise<void> {
    const turn = this.#last.then(() => this.#reload(changes, isTrial));
    this.#last = turn.catch(() => {});
    return turn;
  }

  async #reload(changes: ReloadOptions, isTrial: boolean): Promise<void> {
    checkNames('reload', changes, RELOADED);
    const given = Object.entries(changes ?? {}).filter(([, value]) => value !== undefined);
    const options: PushServerOptions = { ...this.#options, ...Object.fromEntries(given) };
    const next = changeableOf(options);
    const { rules, broker } = this.#settings;
    if (next.rules.authorize.presence !== undefined && !this.#watchesPresence) {
      throw new TypeError('authorize.presence is to be there from the start: it can not be added by reload');
    }
    const { tls } = changes;
    if (tls !== undefined) {
      if (this.#options.tls === undefined) {
        throw new TypeError('tls is to be there from the start: it can not be added by reload');
      }
      withCertificate(() => createSecureContext(tls));
    }
    const newcomers = next.rules.interceptors.filter((each) => !rules.interceptors.includes(each));
    await inTime(PATIENCE, Promise.all(newcomers.map(({ ready }) => ready)));
    broker.accept(next.limits.message);
    if (isTrial) return;
    change(this.#settings, next);
    this.#options = options;
    this.#changed(changes);
  }
}

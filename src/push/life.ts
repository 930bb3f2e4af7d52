/** The life of a push server: what has to be there before it is open, what is done every second, and how it ends. */
import { clearInterval, monotonicNow, setInterval } from '../clock.ts';
import { watchTurns } from '../server/tick.ts';
import { within } from '../waiting.ts';
import type { ChannelRouter, Doorbell } from './delivery/router.ts';
import type { RefusalReason } from './door/handshake-counts.ts';
import type { Listeners } from './door/listeners.ts';
import { explain } from './explain.ts';
import { Drain } from './pages/drain.ts';
import type { InstanceName } from './pages/instance-name.ts';
import type { Presence } from './pages/presence.ts';
import type { SessionRegistry } from './pages/registry.ts';
import type { Session } from './pages/session.ts';
import type { SockJsBus } from './pages/sockjs-bus.ts';
import type { Parts } from './parts.ts';
import type { Acknowledger } from './sending/acknowledger.ts';
import type { Scheduler } from './sending/scheduler.ts';
import type { Settings } from './settings.ts';
import type { Tracing } from './tracing/tracing.ts';

const SWEEP_INTERVAL = 1_000;
/** Milliseconds at the end: for what the store is to be told of pages, of SockJS sessions, and for it to close. */
const LAST_WORDS = 2_000;
const LAST_CLAIMS = 500;
const LAST_OF_STORE = 2_400;

export interface LifeParts {
  settings: Settings;
  registry: SessionRegistry;
  listeners: Listeners;
  router: ChannelRouter;
  scheduler: Scheduler;
  acknowledger: Acknowledger;
  presence: Presence;
  tracing: Tracing;
  name: InstanceName;
  bus: SockJsBus | undefined;
  /** What the application has put beside the rooms. */
  parts: Parts;
  /** What is heard at the broker, once the store has been reached. */
  doorbells: readonly Doorbell[];
  /** What is to be done once a second. */
  sweeps: readonly { sweep(now: number): void }[];
  /** What ends as soon as no session is left. */
  ends: readonly { close(): void }[];
}

export class Life {
  /** When the store has been reached for the first time. */
  readonly storeReached: Promise<void>;
  /** It listens, and has reached the store. */
  isOpen = false;
  readonly #parts: LifeParts;
  readonly #sweeper: NodeJS.Timeout;
  readonly #stopWatching: () => void;
  #drain: Drain | undefined;
  #closing: Promise<void> | undefined;
  /** How many were turned away unheard, when that was told last. */
  #turnedAway: Listeners['turnedAway'] = {};

  /** Begins to connect to the store. */
  constructor(parts: LifeParts) {
    const { router, listeners } = parts;
    this.#parts = parts;
    this.#sweeper = setInterval(() => this.#sweep(monotonicNow()), SWEEP_INTERVAL).unref();
    this.#stopWatching = watchTurns(() => router.mayDeliver());
    this.storeReached = router.open(listeners);
  }

  get isDraining(): boolean {
    return this.#drain !== undefined;
  }

  /** Seconds after which a client may try again, while the server is going. */
  get drainingFor(): number | undefined {
    return this.#drain && Math.ceil(this.#drain.time / 1000);
  }

  /** A session has said hello: where the server is going, it is told so. */
  greeted(session: Session): void {
    this.#drain?.tell(session);
  }

  /** Resolves when it listens and the store has been reached. Rejects, and logs, where it can't listen. */
  async open(): Promise<void> {
    const { settings, listeners, router, scheduler, tracing, name, doorbells } = this.#parts;
    const storeReached = this.storeReached
      .then(() => Promise.all(doorbells.map((each) => router.listen(each))))
      .then(() => {
        if (this.#closing === undefined) scheduler.start();
        return name.say();
      });
    try {
      const others = settings.rules.interceptors.map(({ ready }) => ready);
      await Promise.all([storeReached, listeners.listen(), tracing.ready, ...others]);
      this.isOpen = true;
      if (this.#closing === undefined)
        settings.log('info', 'the push server runs and has reached its store', {
          event: 'started',
        });
    } catch (error) {
      if (this.#closing === undefined)
        settings.log('error', `the push server could not start: ${explain(error)}`, {
          event: 'start-failed',
          error: explain(error),
        });
      throw error;
    }
  }

  /** @param drain milliseconds over which sessions are spread */
  close(drain: number): Promise<void> {
    this.#closing ??= this.#close(drain);
    return this.#closing;
  }

  async #close(drain: number): Promise<void> {
    const { settings, registry, listeners, router, scheduler, acknowledger, presence, bus, parts, ends } =
      this.#parts;
    const { log, logbook } = settings;
    const began = monotonicNow();
    const sessions = registry.size;
    log('info', `${sessions} sessions are told to leave within ${drain} ms`, {
      event: 'draining',
      sessions,
      drain,
    });
    this.#drain = new Drain(registry, drain);
    listeners.stop();
    // What sources have under way, while pages are still here to get it.
    await Promise.all([this.#drain.run(), parts.close()]);
    clearInterval(this.#sweeper);
    for (const each of ends) each.close();
    this.#stopWatching();
    // A store that does not answer must not keep us: what it is not told, its clients will say again, or it expires.
    const told = [acknowledger.flush(), presence.flush(), scheduler.close()];
    await within(LAST_WORDS, Promise.all(told));
    await listeners.close();
    if (bus !== undefined) await within(LAST_CLAIMS, bus.close());
    await within(LAST_OF_STORE, router.close());
    logbook.flush();
    const milliseconds = Math.round(monotonicNow() - began);
    log('info', `the push server has ended, after ${milliseconds} ms`, { event: 'closed', milliseconds });
  }

  #sweep(now: number): void {
    for (const each of this.#parts.sweeps) each.sweep(now);
    this.#tellTurnedAway();
  }

  /** Those whom nobody was asked about, by reason, in one line. */
  #tellTurnedAway(): void {
    const before = this.#turnedAway;
    const now = this.#parts.listeners.turnedAway;
    this.#turnedAway = now;
    for (const [reason, count = 0] of Object.entries(now)) {
      const more = count - (before[reason as RefusalReason] ?? 0);
      if (more <= 0) continue;
      const { log } = this.#parts.settings;
      log('info', `${more} requests for a session were turned away: ${reason}`, {
        event: 'requests-turned-away',
        reason,
        requests: more,
      });
    }
  }
}

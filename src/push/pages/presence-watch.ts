/**
 * Pages that are told who comes to a topic and who goes. What is so is read from the store, at once where an instance says
 * that something has changed, and now and then, as one that was killed says nothing. One read serves all pages of a topic.
 */
import { monotonicNow } from '../../clock.ts';
import type { Broker } from '../../pubsub/store/broker.ts';
import { Turns } from '../../waiting.ts';
import { encodeFrame } from '../delivery/outgoing.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { Presence, Telling } from './presence.ts';
import type { Session } from './session.ts';

/** Users of a topic that pages are told by name. With more, they are only told how many there are. */
const MAX_NAMED = 1000;
/** No user and no topic has a name with a line break. */
const CHANNEL = 'presence\n';
const TOPICS_PER_CALL = 500;
const READS_AT_ONCE = 8;

export interface PresenceWatchHost {
  readonly broker: Broker;
  readonly presence: Presence;
  /** Milliseconds that a user may be gone before it is told. */
  readonly grace: number;
  /** Milliseconds after which is looked without a reason. */
  readonly every: number;
  mayDeliver(): boolean;
  telling: Telling;
}

interface Watch {
  readonly topic: string;
  /** Its pages, and whether they still have to be told all there is to know. */
  readonly pages: Map<Session, boolean>;
  /** Who is there, as the pages were told; with since when they are not to be found any more. */
  users: Map<string, number | undefined> | undefined;
  /** -1 before it is known. */
  total: number;
  isReading: boolean;
  /** Something has changed since it was read. */
  isStale: boolean;
  readAt: number;
}

export class PresenceWatch {
  /** What is said and heard by instances whose pages may be told. */
  readonly channel = CHANNEL;
  readonly #host: PresenceWatchHost;
  readonly #watches = new Map<string, Watch>();
  /** Subscriptions whose end is heard of. */
  readonly #followed = new WeakSet<Subscription>();
  readonly #reads = new Turns(READS_AT_ONCE);

  constructor(host: PresenceWatchHost) {
    this.#host = host;
  }

  /** The page is told who is there, and then who comes and goes, until its subscription ends. */
  add(session: Session, subscription: Subscription): void {
    const topic = subscription.channel.name;
    let watch = this.#watches.get(topic);
    if (watch === undefined) {
      watch = {
        topic,
        pages: new Map(),
        users: undefined,
        total: -1,
        isReading: false,
        isStale: true,
        readAt: Number.NEGATIVE_INFINITY,
      };
      this.#watches.set(topic, watch);
    }
    watch.pages.set(session, true);
    if (!this.#followed.has(subscription)) {
      this.#followed.add(subscription);
      subscription.whenClosed(() => this.remove(session, topic));
    }
    if (watch.total >= 0) this.#tellAll(watch);
    else void this.#read(watch);
  }

  remove(session: Session, topic: string): void {
    const watch = this.#watches.get(topic);
    if (watch?.pages.delete(session) && watch.pages.size === 0) this.#watches.delete(topic);
  }

  /** The store knows that something has changed on these topics. */
  say(topics: readonly string[]): void {
    for (let i = 0; i < topics.length; i += TOPICS_PER_CALL) {
      const part = Buffer.from(JSON.stringify(topics.slice(i, i + TOPICS_PER_CALL)));
      const { broker, telling } = this.#host;
      broker.notify(this.channel, part).then(
        () => telling.worked(),
        (error) => telling.failed(error),
      );
    }
  }

  /** An instance has said so; or anybody has said anything. */
  heard(payload: Buffer): void {
    if (this.#watches.size === 0) return;
    let topics: unknown;
    try {
      topics = JSON.parse(payload.toString());
    } catch {
      // Anybody may PUBLISH there: it names no topic that has changed.
      return;
    }
    if (!Array.isArray(topics)) return;
    for (const topic of topics) {
      const watch = this.#watches.get(topic);
      if (watch !== undefined) watch.isStale = true;
    }
  }

  /** Once a second, which is as often as pages are told of a topic. @param now milliseconds of the monotonic clock */
  sweep(now: number): void {
    for (const watch of this.#watches.values()) {
      if (watch.isStale || now - watch.readAt >= this.#host.every) void this.#read(watch);
      else {
        this.#dropGone(watch, now);
        this.#tellAll(watch);
      }
    }
  }

  async #read(watch: Watch): Promise<void> {
    if (watch.isReading) return;
    watch.isReading = true;
    watch.isStale = false;
    try {
      // Its own pages belong to it.
      await this.#host.presence.flush();
      const { broker } = this.#host;
      const found = await this.#reads.run(() => broker.attendance(watch.topic, MAX_NAMED));
      if (this.#watches.get(watch.topic) !== watch) return;
      watch.readAt = monotonicNow();
      this.#compare(watch, found.total, new Set(found.users.map(({ user }) => user)));
    } catch {
      // The store is away, or this topic damaged, which the broker tells. Until it can be read, nobody comes or goes.
      watch.isStale = true;
    } finally {
      watch.isReading = false;
    }
  }

  #compare(watch: Watch, total: number, present: ReadonlySet<string>): void {
    if (!this.#host.mayDeliver()) {
      watch.isStale = true;
      return;
    }
    const { users } = watch;
    if (total > MAX_NAMED || users === undefined) {
      const isSame = users === undefined && total > MAX_NAMED && total === watch.total;
      watch.users = total > MAX_NAMED ? undefined : new Map([...present].map((user) => [user, undefined]));
      watch.total = total;
      if (!isSame) for (const page of watch.pages.keys()) watch.pages.set(page, true);
    } else {
      const now = monotonicNow();
      const joined: string[] = [];
      for (const user of present) {
        if (!users.has(user)) joined.push(user);
        users.set(user, undefined);
      }
      for (const [user, since] of users) if (!present.has(user)) users.set(user, since ?? now);
      if (joined.length > 0) this.#tell(watch, { joined });
      this.#dropGone(watch, now);
    }
    this.#tellAll(watch);
  }

  /** Who comes back within a few seconds was never away. */
  #dropGone(watch: Watch, now: number): void {
    if (watch.users === undefined || !this.#host.mayDeliver()) return;
    const left: string[] = [];
    for (const [user, since] of watch.users) {
      if (since === undefined || now - since < this.#host.grace) continue;
      watch.users.delete(user);
      left.push(user);
    }
    if (left.length > 0) this.#tell(watch, { left });
  }

  #tell(watch: Watch, change: { joined: string[] } | { left: string[] }): void {
    const total = watch.users!.size;
    watch.total = total;
    const frame = encodeFrame({ type: 'presence', channel: watch.topic, ...change, total });
    for (const [page, isOwed] of watch.pages) {
      if (isOwed) continue;
      // What is told anew when there is room makes no slow page slower.
      if (page.bufferedAmount >= page.busy) watch.pages.set(page, true);
      else page.write(frame);
    }
  }

  /** To pages that don't know it. */
  #tellAll(watch: Watch): void {
    if (watch.total < 0 || !this.#host.mayDeliver()) return;
    let frame: ReturnType<typeof encodeFrame> | undefined;
    for (const [page, isOwed] of watch.pages) {
      if (!isOwed || page.bufferedAmount >= page.busy) continue;
      watch.pages.set(page, false);
      const { topic: channel, users, total } = watch;
      const named = users === undefined ? {} : { users: [...users.keys()] };
      frame ??= encodeFrame({ type: 'presence', channel, ...named, total });
      page.write(frame);
    }
  }
}

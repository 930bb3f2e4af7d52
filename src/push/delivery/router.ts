/**
 * The channels of one instance: brings the broker's doorbells to them, keeps a channel a little longer
 * than its last user, and asks the store in batches what the quiet ones may have missed.
 */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import type { LogFields } from '../../log-fields.ts';
import type {
  Broker,
  BrokerListener,
  Cursor,
  IntakeMessage,
  Opening,
  Position,
  Retention,
  Retentions,
  StoredMessage,
} from '../../pubsub/store/broker.ts';
import type { ControlListener } from '../../pubsub/store/control.ts';
import type { Mark, Marked, Removal } from '../../pubsub/store/marks.ts';
import { Turns } from '../../waiting.ts';
import type { ChannelStates } from '../inbox/channel-states.ts';
import { StoreClock } from '../inbox/store-clock.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { Wheel } from '../wheel.ts';
import type { FanOut } from './audience.ts';
import { Channel, type ChannelHost } from './channel.ts';
import { DeliveryCounts } from './delivery-counts.ts';
import { OutgoingTransient } from './outgoing.ts';
import type { References } from './references.ts';

/** How long a channel outlives its last user, so that a page that reloads finds it subscribed. */
const LINGER = 5_000;
const TOPS_PER_CALL = 1_000;
/** Pages of the log in flight at once; each can be 1 MiB. */
const MAX_READS = 32;
const FIRST_PAUSE = 100;
const LAST_PAUSE = 5_000;
/** Longest that a handshake waits for the store, in milliseconds. */
const PATIENCE = 2_000;

/** Who hears what is said on a channel. */
export interface Doorbell {
  readonly channel: string;
  /** Something was said there, by anybody. */
  heard(payload: Buffer): void;
}

export interface RouterEvents {
  acknowledged(cursor: Cursor): void;
  /** What a channel's marks are now. */
  marked(channel: string, marked: Marked): void;
  /** A transient message for everybody. */
  broadcast(message: OutgoingTransient): void;
  /** Another program wants this stored. */
  intake(message: IntakeMessage): Promise<unknown>;
  /** The store is away, or back with all subscriptions in force. */
  storeState(isAway: boolean, error: Error | undefined): void;
  /** Something about the store that an operator should see. */
  warn(message: string, fields: LogFields): void;
  rewound(channel: string): void;
  /** It is over. */
  mended(message: string, fields: LogFields): void;
}

export interface RouterOptions {
  broadcastChannel: string;
  /** Milliseconds. */
  checkInterval: number;
  /** `message` in bytes. */
  limits: { readonly message: number };
  retentionOf: (channel: string) => Retention;
  allRetentions: () => Retentions;
  /** Who carries out commands. */
  control: ControlListener;
  /** Milliseconds. */
  lease: number | undefined;
  tracing: Tracing;
}

export class ChannelRouter implements BrokerListener, ChannelHost {
  readonly broker: Broker;
  readonly references: References | undefined;
  readonly #limits: { readonly message: number };
  readonly control: ControlListener;
  readonly lease?: number;
  readonly counts = new DeliveryCounts();
  readonly tracing: Tracing;
  #fanOut: FanOut | undefined;
  readonly #events: RouterEvents;
  readonly #broadcastChannel: string;
  readonly #checkInterval: number;
  readonly #channels = new Map<string, Channel>();
  readonly #idle = new Set<Channel>();
  readonly #listened = new Map<string, Doorbell>();
  #pausing = new Set<() => void>();
  readonly #reads = new Turns(MAX_READS);
  readonly retentionOf: (channel: string) => Retention;
  readonly #allRetentions: () => Retentions;
  readonly storeClock = new StoreClock();
  /** When messages expire, or become too old. */
  readonly expiries = new Wheel<ChannelStates>((states) => states.expire());
  #nextCheck = 0;
  #isChecking = false;
  /** Until it was reached for the first time, too. */
  #isAway = true;
  #isAwayTold = false;
  #isSlow = false;
  /** When it was last lost, or came (back), in milliseconds since 1970; and how often it was lost. */
  stateSince = Date.now();
  outages = 0;
  /** Since when there is no store, in milliseconds of the monotonic clock. Only meaningful while it is away. */
  #awaySince = monotonicNow();
  /** The same, but when it was really lost. */
  #lostAt = monotonicNow();
  #isClosed = false;

  constructor(
    broker: Broker,
    references: References | undefined,
    options: RouterOptions,
    events: RouterEvents,
  ) {
    this.broker = broker;
    this.references = references;
    this.#broadcastChannel = options.broadcastChannel;
    this.#checkInterval = options.checkInterval;
    this.#limits = options.limits;
    this.retentionOf = options.retentionOf;
    this.#allRetentions = options.allRetentions;
    this.control = options.control;
    this.tracing = options.tracing;
    if (options.lease !== undefined) this.lease = options.lease;
    this.#events = events;
  }

  get retentions(): Retentions {
    return this.#allRetentions();
  }

  get maxMessage(): number {
    return this.#limits.message;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  /** Milliseconds for which the store has been away; undefined while it is there. */
  get awayFor(): number | undefined {
    return this.#isAway ? monotonicNow() - this.#lostAt : undefined;
  }

  /** Whether what comes from the store may go to pages at this moment. */
  mayDeliver(): boolean {
    return this.broker.control.mayDeliver();
  }

  /** Resolves when it may, or `isOver` says that nobody waits any more. */
  async untilAllowed(isOver: () => boolean): Promise<void> {
    for (let attempt = 0; !isOver() && !this.#isClosed && !this.mayDeliver(); attempt++)
      await this.pause(attempt);
  }

  /**
   * Milliseconds that a newcomer may wait for its channel. While the store is away, or answers nobody, all together wait
   * no longer than one would.
   */
  patience(): number {
    if (this.#isSlow) return 0;
    return this.#isAway ? Math.max(0, this.#awaySince + PATIENCE - monotonicNow()) : PATIENCE;
  }

  /** Somebody has waited in vain; until that channel is ready, others need not wait. */
  waitedInVain(channel: Channel): void {
    if (this.#isSlow) return;
    this.#isSlow = true;
    const again = (): void => {
      this.#isSlow = false;
    };
    channel.ready().then(again, again);
  }

  get size(): number {
    return this.#channels.size;
  }

  get fanOut(): FanOut | undefined {
    return this.#fanOut;
  }

  /**
   * Connects, and hears what everybody is to hear.
   *
   * @param fanOut where there are listeners whose sessions can be reached together
   */
  async open(fanOut?: FanOut): Promise<void> {
    this.#fanOut = fanOut;
    await this.broker.open(this);
    this.#reached();
    await this.#subscribe(this.#broadcastChannel);
  }

  /** Has it hear every payload of its channel, stored or not. At most once: for doorbells, not for messages. */
  async listen(doorbell: Doorbell): Promise<void> {
    this.#listened.set(doorbell.channel, doorbell);
    await this.#subscribe(doorbell.channel);
  }

  async #subscribe(channel: string): Promise<void> {
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        await this.broker.subscribe(channel);
        return;
      } catch {
        // The store's state is told by itself; here it is only tried again.
        await this.pause(attempt);
      }
    }
  }

  /** Pair it with `release`. */
  acquire(name: string): Channel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = new Channel(name, this);
      this.#channels.set(name, channel);
    }
    channel.users++;
    this.#idle.delete(channel);
    return channel;
  }

  release(channel: Channel): void {
    channel.users--;
    if (channel.users > 0 || this.#isClosed) return;
    channel.idleSince = monotonicNow();
    this.#idle.add(channel);
  }

  /** Once a second. */
  sweep(now: number): void {
    for (const channel of this.#idle) {
      if (now - channel.idleSince < LINGER) break;
      this.#idle.delete(channel);
      this.#channels.delete(channel.name);
      channel.close();
      // Where it fails, the connection is gone and the subscription with it.
      if (!this.#listened.has(channel.name)) this.broker.unsubscribe(channel.name).catch(() => {});
    }
    this.expiries.sweep(now);
    if (now >= this.#nextCheck && !this.#isChecking && !this.#isAway) void this.#checkQuiet(now);
  }

  async #checkQuiet(now: number): Promise<void> {
    this.#isChecking = true;
    this.#nextCheck = now + this.#checkInterval;
    const quiet: Channel[] = [];
    for (const channel of this.#channels.values()) {
      if (!channel.isBusy && channel.isLive) quiet.push(channel);
      channel.isBusy = false;
    }
    try {
      for (let i = 0; i < quiet.length; i += TOPS_PER_CALL) {
        const part = quiet.slice(i, i + TOPS_PER_CALL);
        const tops = await this.broker.tops(part.map(({ name }) => name));
        for (const [k, channel] of part.entries()) {
          const top = tops[k]!;
          // Of one that can't be used, the pages are told as they go back to the log.
          if (top instanceof Error) channel.doubt();
          else if (!channel.isBusy) channel.compare(top);
        }
      }
    } catch {
      // The store is away: `up` makes all channels look.
    } finally {
      this.#isChecking = false;
    }
  }

  message(message: StoredMessage): void {
    // Whoever was frozen finds out here, and its channel doubts.
    this.mayDeliver();
    this.#listened.get(message.channel)?.heard(message.payload);
    this.#channels.get(message.channel)?.receive(message);
  }

  /** This instance has stored this message: whoever waits for the channel's place begins no later. */
  stored({ channel, ...position }: Position & { channel: string }): void {
    this.#channels.get(channel)?.stored(position);
  }

  transient(name: string, payload: Buffer): void {
    if (!this.mayDeliver()) return;
    if (name === this.#broadcastChannel) {
      this.#events.broadcast(new OutgoingTransient(name, payload));
      return;
    }
    this.#listened.get(name)?.heard(payload);
    this.#channels.get(name)?.receiveTransient(new OutgoingTransient(name, payload));
  }

  marked(channel: string, marked: Marked): void {
    this.mayDeliver();
    this.#channels.get(channel)?.receiveMarks(marked);
    this.#events.marked(channel, marked);
  }

  acknowledged(cursor: Cursor): void {
    this.#channels.get(cursor.channel)?.acknowledged();
    this.#events.acknowledged(cursor);
  }

  intake(message: IntakeMessage): Promise<unknown> {
    return this.#events.intake(message);
  }

  down(error: Error): void {
    if (!this.#isAway) {
      this.#awaySince = Number.NEGATIVE_INFINITY;
      this.stateSince = Date.now();
      this.#lostAt = monotonicNow();
    }
    this.#isAway = true;
    if (this.#isAwayTold) return;
    this.#isAwayTold = true;
    this.outages++;
    // What comes until `up` may already count again what the store has lost: nothing of it is passed on unread.
    for (const channel of this.#channels.values()) channel.doubt();
    this.#events.storeState(true, error);
  }

  up(): void {
    for (const channel of this.#channels.values()) channel.doubt();
    this.#reached();
  }

  #reached(): void {
    if (this.#isAway) this.stateSince = Date.now();
    this.#isAway = false;
    for (const proceed of [...this.#pausing]) proceed();
    if (!this.#isAwayTold) return;
    this.#isAwayTold = false;
    this.#events.storeState(false, undefined);
  }

  missed(channel: string): void {
    this.#channels.get(channel)?.doubt();
  }

  warn(message: string, fields: LogFields = { event: 'store-fault' }): void {
    this.#events.warn(message, fields);
  }

  rewound(channel: string): void {
    this.#events.rewound(channel);
  }

  mended(message: string, fields: LogFields): void {
    this.#events.mended(message, fields);
  }

  /** Changes the marks of a user's inbox, as `Broker.mark`. */
  async mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    const marked = await this.broker.mark(channel, mark);
    this.counts.hasMarked(mark.as, marked.changed);
    return marked;
  }

  /** Withdraws a message, as `Broker.remove`. */
  async remove(channel: string, which: Removal): Promise<boolean> {
    const isDone = await this.broker.remove(channel, which);
    if (isDone) this.counts.withdrawn++;
    return isDone;
  }

  opening(channel: string): Promise<Opening> {
    // Until it is back and has been compared, its word would not do.
    if (this.#isAwayTold) return Promise.reject(new Error('the store is away'));
    return this.broker.opening(channel);
  }

  pause(attempt: number): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    const longest = Math.min(FIRST_PAUSE * 2 ** attempt, LAST_PAUSE);
    return new Promise((resolve) => {
      const proceed = (): void => {
        clearTimeout(timer);
        this.#pausing.delete(proceed);
        resolve();
      };
      const timer = setTimeout(proceed, longest * (0.5 + Math.random() / 2));
      this.#pausing.add(proceed);
    });
  }

  bounded<T>(read: () => Promise<T>): Promise<T> {
    return this.#reads.run(read);
  }

  /** Ends the channels, then the broker. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const channel of this.#channels.values()) channel.close();
    this.#channels.clear();
    for (const proceed of [...this.#pausing]) proceed();
    await this.broker.close();
  }
}

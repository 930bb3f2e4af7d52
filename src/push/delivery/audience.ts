/** Who gets a channel's live messages, and how: most of a topic's together, the others one by one. */
import type { Position } from '../../pubsub/store/broker.ts';
import type { PreparedMessage } from '../../server/prepared-message.ts';
import { timeOfTurn } from '../../server/tick.ts';
import type { Transport } from '../../server/transport.ts';
import { SmallSet } from '../../small.ts';
import type { ChannelStates } from '../inbox/channel-states.ts';
import { isInbox } from '../talk/names.ts';
import type { Tracing } from '../tracing/tracing.ts';
import type { DeliveryCounts } from './delivery-counts.ts';
import { isSame } from './judge.ts';
import type { Outgoing, OutgoingTransient } from './outgoing.ts';

/** Reaches many sessions at once: one shared frame for all, and what is due in one turn in one write. */
export interface FanOut {
  /** Whether the transport is one that it can reach. */
  reaches(transport: Transport): boolean;
  join(group: string, transport: Transport): void;
  leave(group: string, transport: Transport): void;
  /** Returns to how many. */
  publish(group: string, frame: PreparedMessage): number;
}

/** Somebody who gets a channel's messages: a session's subscription. */
export interface Subscriber {
  readonly transport: Transport;
  /** Reached together with others while live, by the fan-out; otherwise one by one, by `deliver`. */
  readonly isShared: boolean;
  /**
   * The channel's own note: `live` gets every message; `behind` reads the log; a position is further than
   * the channel and becomes live when the channel gets there.
   */
  place: 'live' | 'behind' | Position;
  /** The next message, when the subscriber is live. */
  deliver(message: Outgoing): void;
  transient(message: OutgoingTransient): void;
  /** This instance has stored a message in the channel, as its doorbell may not have said yet. */
  stored(position: Position): void;
  /** The state of the channel's messages has changed: tell it, now or when the subscriber can take it. */
  tellState(): void;
  /** It is not live any more, and has everything up to `position`: read the log from there. */
  demoted(position: Position): void;
}

export interface AudienceHost {
  readonly fanOut: FanOut | undefined;
  readonly counts: DeliveryCounts;
  readonly tracing: Tracing;
}

/** All subscribers of a channel, also those that are behind. */
export class Audience extends SmallSet<Subscriber> {
  readonly #channel: string;
  readonly #host: AudienceHost;
  /** How many live members are reached together. */
  #shared = 0;
  /** How many members are live and reached one by one, or further than the channel. */
  #single = 0;
  /** Which they are, in a topic: there they may be few among thousands. In an inbox all members are. */
  #singles: SmallSet<Subscriber> | undefined;

  constructor(channel: string, host: AudienceHost) {
    super();
    this.#channel = channel;
    this.#host = host;
  }

  setPlace(subscriber: Subscriber, place: Subscriber['place']): void {
    const { isShared, transport, place: old } = subscriber;
    subscriber.place = place;
    const isNow = isSingle(isShared, place);
    if (isNow !== isSingle(isShared, old)) this.#count(subscriber, isNow);
    if (!isShared || (old === 'live') === (place === 'live')) return;
    if (place === 'live') {
      this.#shared++;
      this.#host.fanOut!.join(this.#channel, transport);
    } else {
      this.#shared--;
      this.#host.fanOut!.leave(this.#channel, transport);
    }
  }

  /** The next message. */
  deliver(message: Outgoing): void {
    if (this.#shared > 0) {
      const count = this.#host.fanOut!.publish(this.#channel, message.prepared);
      this.#host.counts.wroteLive(message.time, timeOfTurn(), count);
      if (message.trace !== undefined) this.#host.tracing.published(this.#channel, message, count);
    }
    if (this.#single === 0) return;
    const singles = this.#singles ?? this;
    const { only } = singles;
    if (only === undefined) for (const subscriber of singles) this.#deliverTo(subscriber, message);
    else this.#deliverTo(only, message);
  }

  /** All that are not behind, of what they were not told yet; the others are told when they are there. */
  tellState(states: ChannelStates): void {
    const before = states.told++;
    states.isOwed = false;
    const frame = this.#shared > 0 ? states.prepared(before) : undefined;
    if (frame !== undefined) this.#host.fanOut!.publish(this.#channel, frame);
    if (this.#single === 0) return;
    for (const subscriber of this.#singles ?? this) {
      if (isSingle(subscriber.isShared, subscriber.place)) subscriber.tellState();
    }
  }

  #deliverTo(subscriber: Subscriber, message: Outgoing): void {
    const { place, isShared } = subscriber;
    if (place === 'live') {
      if (!isShared) subscriber.deliver(message);
    } else if (place !== 'behind' && message.offset >= place.offset) {
      // It has this message from the log already, unless the log has another one here now.
      const isHere = isSame(place, message);
      this.setPlace(subscriber, isHere ? 'live' : 'behind');
      if (!isHere) subscriber.demoted(place);
    }
  }

  #count(subscriber: Subscriber, isSingle: boolean): void {
    this.#single += isSingle ? 1 : -1;
    if (isInbox(this.#channel)) return;
    this.#singles ??= new SmallSet();
    if (isSingle) this.#singles.add(subscriber);
    else this.#singles.delete(subscriber);
  }
}

function isSingle(isShared: boolean, place: Subscriber['place']): boolean {
  return place === 'live' ? !isShared : place !== 'behind';
}

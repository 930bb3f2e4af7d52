/**
 * The users of this instance who are followed, for whoever follows them, here or on another instance. He has to say again
 * and again that he is there. What is told is bounded: so many frames a second, and what is more is counted.
 */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import type { Session } from '../pages/session.ts';
import type { WatchBus } from './bus.ts';
import { shownFrame } from './shown-frame.ts';
import { type TapParts, Taps } from './taps.ts';

/** Milliseconds for which somebody is followed, unless that is said again. */
export const FOLLOW_LEASE = 10_000;
/** Who is followed from an instance at once: each by so many. */
const MOST_FOLLOWS = 100;
/** Frames a second of one who is followed, and at once. */
const RATE = 200;
/** Milliseconds for which frames are gathered, and how many and how long they get. */
const GATHER = 50;
const MOST_GATHERED = 100;
const MOST_BYTES = 64 * 1024;

/** One line of what is told of somebody who is followed. */
export type FollowedEvent = Record<string, unknown>;

interface Follow {
  id: string;
  user: string;
  withData: boolean;
  to: string;
  until: number;
  /** Frames that may be told. */
  left: number;
  filledAt: number;
  events: FollowedEvent[];
  bytes: number;
  dropped: number;
}

export class Followed {
  readonly #bus: WatchBus;
  readonly #instance: string;
  readonly #taps: Taps;
  readonly #follows = new Map<string, Follow>();
  #timer: NodeJS.Timeout | undefined;

  constructor(instance: string, bus: WatchBus, parts: Omit<TapParts, 'follows' | 'listener'>) {
    this.#instance = instance;
    this.#bus = bus;
    this.#taps = new Taps({
      ...parts,
      follows: (user) => this.#of(user).length > 0,
      listener: {
        opened: (session) => this.#tell(session, { event: 'opened', ...about(session) }),
        closed: (session, code, reason) => this.#tell(session, { event: 'closed', code, reason }),
        frame: (session, data, isBinary, isIn) => this.#tellFrame(session, data, isBinary, isIn),
      },
    });
    bus.on('follow', ({ id, user, data }, from) => {
      if (typeof id === 'string' && id.length <= 64 && typeof user === 'string') {
        this.#follow(id, user, data === true, from);
      }
    });
    bus.on('unfollow', ({ id }) => {
      if (typeof id === 'string' && this.#follows.delete(id)) this.#changed();
    });
  }

  close(): void {
    this.#follows.clear();
    this.#changed();
    clearTimeout(this.#timer);
  }

  /** Once a second. */
  sweep(now: number): void {
    if (this.#follows.size === 0) return;
    for (const [id, { until }] of this.#follows) if (until <= now) this.#follows.delete(id);
    this.#changed();
  }

  #follow(id: string, user: string, withData: boolean, to: string): void {
    const until = monotonicNow() + FOLLOW_LEASE;
    const known = this.#follows.get(id);
    if (known !== undefined) {
      known.until = until;
      return;
    }
    if (this.#follows.size >= MOST_FOLLOWS) return;
    const follow = {
      id,
      user,
      withData,
      to,
      until,
      left: RATE,
      filledAt: monotonicNow(),
      events: [],
      bytes: 0,
      dropped: 0,
    };
    this.#follows.set(id, follow);
    this.#taps.add(user);
    for (const session of this.#taps.of(user))
      this.#keep(follow, this.#event(session, { event: 'there', ...about(session) }));
  }

  #changed(): void {
    if (this.#follows.size === 0) this.#taps.stop();
    else this.#taps.review();
  }

  #of(user: string): Follow[] {
    return [...this.#follows.values()].filter((follow) => follow.user === user);
  }

  #event(session: Session, more: FollowedEvent): FollowedEvent {
    return { time: Date.now(), instance: this.#instance, session: session.id, ...more };
  }

  #tell(session: Session, more: FollowedEvent): void {
    for (const follow of this.#of(session.user)) this.#keep(follow, this.#event(session, more));
  }

  #tellFrame(session: Session, data: string | Buffer, isBinary: boolean, isIn: boolean): void {
    for (const follow of this.#of(session.user)) {
      if (!hasLeft(follow)) {
        follow.dropped++;
        this.#gather();
        continue;
      }
      const frame = shownFrame(data, isBinary, session.isTidings, follow.withData);
      this.#keep(follow, this.#event(session, { event: isIn ? 'received' : 'sent', ...frame }));
    }
  }

  #keep(follow: Follow, event: FollowedEvent): void {
    follow.events.push(event);
    follow.bytes += 200 + String(event['text'] ?? '').length;
    if (follow.events.length >= MOST_GATHERED || follow.bytes >= MOST_BYTES) this.#send(follow);
    else this.#gather();
  }

  #gather(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      for (const follow of this.#follows.values()) this.#send(follow);
    }, GATHER).unref();
  }

  #send(follow: Follow): void {
    const { id, events, dropped, to } = follow;
    if (events.length === 0 && dropped === 0) return;
    follow.events = [];
    follow.bytes = 0;
    follow.dropped = 0;
    this.#bus.tell(to, 'followed', { id, events, dropped });
  }
}

function hasLeft(follow: Follow): boolean {
  const now = monotonicNow();
  follow.left = Math.min(RATE, follow.left + ((now - follow.filledAt) / 1000) * RATE);
  follow.filledAt = now;
  if (follow.left < 1) return false;
  follow.left--;
  return true;
}

/** What somebody who looks at a session wants to know first. */
function about({ device, since, isTidings, address }: Session): FollowedEvent {
  return { mode: isTidings ? 'tidings.1' : 'plain', since, address, ...(device !== undefined && { device }) };
}

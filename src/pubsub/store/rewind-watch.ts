/**
 * Notices that a store has lost messages which it had acknowledged, or changes of marks: it keeps, of each channel, the
 * last message that the log is known to have had, and the last version of the marks. From a loss of the store on that is
 * frozen, until the log was compared with it: what is heard in the meantime may already count the lost offsets again, and
 * would hide that they were lost.
 */

import { delayOf, pause } from '../../waiting.ts';
import type { Position } from './broker.ts';

/** Channels without a subscription whose last receipt is remembered. */
const MAX_SENT = 10_000;
/** Positions that are compared at a time. */
const AT_ONCE = 256;
const AGAIN = { min: 50, max: 1000 };

export interface Known {
  readonly channel: string;
  /** The last message that the log is known to have had. */
  last: Position | undefined;
  /** What `last` was when the store was lost, until the log was compared with it. */
  doubted: Position | undefined;
  /** The same of the marks. */
  version: Position | undefined;
  doubtedVersion: Position | undefined;
}

/** What a channel is compared with. */
export interface Doubted {
  position: Position | undefined;
  version: Position | undefined;
}

export class RewindWatch {
  /** By the name on the bus. */
  readonly #subscribed = new Map<string, Known>();
  /** Of channels without a subscription: the last message that was stored from here. */
  readonly #sent = new Map<string, Known>();
  readonly #renew: (channel: string, doubted: Doubted) => Promise<unknown>;
  readonly #failed: (channel: string, error: unknown) => void;
  readonly #mayPass: (error: unknown) => boolean;

  /**
   * @param renew gives the channel another epoch if its log lacks the position, and its marks one if they lack the version
   * @param failed hears of a channel that can't be compared
   * @param mayPass whether that error is the store's, which may be able to do it later
   */
  constructor(
    renew: (channel: string, doubted: Doubted) => Promise<unknown>,
    failed: (channel: string, error: unknown) => void,
    mayPass: (error: unknown) => boolean,
  ) {
    this.#renew = renew;
    this.#failed = failed;
    this.#mayPass = mayPass;
  }

  subscribe(bus: string, channel: string): void {
    if (this.#subscribed.has(bus)) return;
    this.#subscribed.set(bus, this.#sent.get(bus) ?? unknown(channel));
    this.#sent.delete(bus);
  }

  unsubscribe(bus: string): void {
    const known = this.#subscribed.get(bus);
    this.#subscribed.delete(bus);
    if (known?.last !== undefined || known?.version !== undefined) this.#keep(bus, known);
  }

  /** The channel whose doorbells are heard under this name. */
  channelOf(bus: string): string | undefined {
    return this.#subscribed.get(bus)?.channel;
  }

  /** A message of a subscribed channel, which the log has had. */
  heard(bus: string, { epoch, offset, id }: Position): void {
    // Only the position: the message itself may be large.
    this.#subscribed.get(bus)!.last = { epoch, offset, id };
  }

  /** What was stored from here, or read: of a subscribed channel, in whatever order the answers come. */
  learned(bus: string, position: Position): void {
    const known = this.#subscribed.get(bus);
    if (known !== undefined && position.offset > 0) advance(known, position);
  }

  /** The marks of a subscribed channel have or had this version, or with offset 0 none: in whatever order that is heard. */
  learnedVersion(bus: string, { epoch, offset, id }: Position): void {
    const known = this.#subscribed.get(bus);
    if (known === undefined || (known.version?.epoch === epoch && known.version.offset >= offset)) return;
    known.version = offset === 0 ? undefined : { epoch, offset, id };
  }

  stored(bus: string, channel: string, position: Position): void {
    const known = this.#subscribed.get(bus) ?? this.#sent.get(bus);
    if (known === undefined) this.#keep(bus, { ...unknown(channel), last: position });
    else {
      advance(known, position);
      if (this.#sent.has(bus)) this.#keep(bus, known);
    }
  }

  /** A message that the log must still have, or have had trimmed. */
  knownOf(bus: string): Position | undefined {
    const known = this.#subscribed.get(bus) ?? this.#sent.get(bus);
    return known?.doubted ?? known?.last;
  }

  /** A version that the marks must still have, or have gone beyond. */
  versionOf(bus: string): Position | undefined {
    const known = this.#subscribed.get(bus) ?? this.#sent.get(bus);
    return known?.doubtedVersion ?? known?.version;
  }

  /** The store is lost, or one channel of it. */
  doubt(bus?: string): void {
    const all = bus === undefined ? this.#all() : [this.#subscribed.get(bus) ?? this.#sent.get(bus)];
    for (const known of all) {
      if (known === undefined) continue;
      known.doubted ??= known.last;
      known.doubtedVersion ??= known.version;
    }
  }

  /** Compares all that is doubted with the store, until it is done or `isCurrent` says that it is in vain. */
  async compare(isCurrent: () => boolean): Promise<void> {
    for (let round = 0; isCurrent(); round++) {
      const doubted = [...this.#all()].filter(isDoubted);
      if (doubted.length === 0) return;
      if (round > 0) await pause(delayOf(round - 1, AGAIN));
      for (let i = 0; i < doubted.length && isCurrent(); i += AT_ONCE) {
        await Promise.all(doubted.slice(i, i + AT_ONCE).map((known) => this.#verify(known)));
      }
    }
  }

  /** Compares one channel. */
  async compareOne(bus: string): Promise<void> {
    const known = this.#subscribed.get(bus);
    for (let round = 0; known !== undefined && isDoubted(known) && round < 10; round++) {
      await this.#verify(known);
      if (isDoubted(known)) await pause(delayOf(round, AGAIN));
    }
  }

  clear(): void {
    this.#subscribed.clear();
    this.#sent.clear();
  }

  async #verify(known: Known): Promise<void> {
    if (!isDoubted(known)) return;
    const { channel, doubted, doubtedVersion } = known;
    try {
      await this.#renew(channel, { position: doubted, version: doubtedVersion });
    } catch (error) {
      // It is asked again as long as the store is there, and anew when it is back.
      if (this.#mayPass(error)) return;
      this.#failed(channel, error);
    }
    if (known.doubted === doubted) known.doubted = undefined;
    if (known.doubtedVersion === doubtedVersion) known.doubtedVersion = undefined;
  }

  *#all(): Generator<Known> {
    yield* this.#subscribed.values();
    yield* this.#sent.values();
  }

  #keep(bus: string, known: Known): void {
    this.#sent.delete(bus);
    this.#sent.set(bus, known);
    if (this.#sent.size > MAX_SENT) this.#sent.delete(this.#sent.keys().next().value!);
  }
}

function unknown(channel: string): Known {
  return { channel, last: undefined, doubted: undefined, version: undefined, doubtedVersion: undefined };
}

function isDoubted({ doubted, doubtedVersion }: Known): boolean {
  return doubted !== undefined || doubtedVersion !== undefined;
}

function advance(known: Known, { epoch, offset, id }: Position): void {
  if (known.last?.epoch === epoch && known.last.offset >= offset) return;
  known.last = { epoch, offset, id };
}

/** Whether the log of `top` has lost a message that it is known to have had; of marks, a change. */
export function hasRewound(known: Position | undefined, top: Position): boolean {
  if (known === undefined || known.epoch !== top.epoch) return false;
  return known.offset > top.offset || (known.offset === top.offset && known.id !== top.id);
}

export function positionOf({ epoch, offset, id }: Position): Position {
  return { epoch, offset, id };
}

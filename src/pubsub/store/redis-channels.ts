/**
 * A broker's channels as Redis has them: their keys, and what it means for one of them when Redis answers with an error.
 */
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import { DamagedChannelError, type Position } from './broker.ts';
import { unusedEpoch } from './epochs.ts';
import type { Faults } from './faults.ts';
import { lua } from './lua.ts';
import { ChannelKeys, originKey } from './redis-layout.ts';

/** A script about channels: lua/channel.lua goes before it. */
export const channelScript = (...names: (keyof typeof lua)[]): Script =>
  new Script([lua.channel, ...names.map((name) => lua[name])].join('\n'));

export class RedisChannels {
  readonly topology: RedisTopology;
  readonly prefix: string;
  /** Milliseconds that a channel is remembered after its last use. */
  readonly idleTtl: number;
  readonly #faults: Faults;

  constructor(topology: RedisTopology, prefix: string, idleTtl: number, faults: Faults) {
    this.topology = topology;
    this.prefix = prefix;
    this.idleTtl = idleTtl;
    this.#faults = faults;
  }

  keys(channel: string): ChannelKeys {
    return new ChannelKeys(this.prefix, channel, this.topology.database);
  }

  /** Where the store's origin is kept, for a script that has this key too. */
  originKey(key: string): string {
    return originKey(this.prefix, this.topology.slotOf(key));
  }

  /** Top, list and origin, as lua/look.lua and lua/renew.lua take them. */
  lookKeys({ top, list }: ChannelKeys): string[] {
    return [top, list, this.originKey(top)];
  }

  /** The top of a channel that is unused, in a store with that origin. @param now milliseconds since 1970 */
  unused(origin: string, now: number): Position {
    return { epoch: unusedEpoch(origin, now - this.idleTtl, now), offset: 0, id: '' };
  }

  /**
   * What a channel's own commands answer: an error that no other attempt would change is said to be one, and counts
   * as a fault until the channel can be used.
   */
  async about<T>(what: string, channel: string, answer: Promise<T>): Promise<T> {
    try {
      const value = await answer;
      this.#worked(what, channel);
      return value;
    } catch (error) {
      throw this.blame(what, channel, error);
    }
  }

  /** As `about`, for what has been answered: what is wrong, if anything is. */
  outcome(what: string, channel: string, error: unknown): unknown {
    if (error !== undefined) return this.blame(what, channel, error);
    this.#worked(what, channel);
    return undefined;
  }

  #worked(what: string, channel: string): void {
    if (this.#faults.isEmpty) return;
    this.#faults.over(`${what} ${channel}`);
    this.#faults.over(`forbidden ${what}`);
  }

  /** What to throw in place of `error`. */
  blame(what: string, channel: string, error: unknown): unknown {
    const subject = `${what} ${channel}`;
    if (error instanceof RedisError && error.code === 'REDIS_REPLY_TOO_LONG') {
      this.#faults.met(subject, `${JSON.stringify(channel)} can't be read: ${error.message}`, {
        event: 'channel-unreadable',
        channel,
        error: error.message,
      });
      return error;
    }
    if (isForbidden(error)) {
      const words = (error as RedisReplyError).message;
      this.#faults.met(`forbidden ${what}`, `Redis forbids what is needed to ${what}: ${words}`, {
        event: 'redis-forbids',
        what,
        error: words,
      });
      return error;
    }
    const isDamage = error instanceof RedisReplyError && ['WRONGTYPE', 'ERR'].includes(error.prefix);
    if (!isDamage || wasNotExecuted(error)) return error;
    const { top } = this.keys(channel);
    const why = `${error.reply}; see the keys that begin with ${top.slice(0, -':top'.length)}`;
    const damaged = new DamagedChannelError(channel, why, { cause: error });
    this.#faults.met(subject, damaged.message, { event: 'channel-damaged', channel, error: why });
    return damaged;
  }
}

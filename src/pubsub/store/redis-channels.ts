/**
 * A broker's channels as Redis has them: their keys, and what it means for one of them when Redis answers with an error.
 */
import { isForbidden, mayPass, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import { DamagedChannelError, type Position } from './broker.ts';
import { Channels } from './channels.ts';
import { unusedEpoch } from './epochs.ts';
import type { Failures } from './failures.ts';
import type { Faults } from './faults.ts';
import { lua } from './lua.ts';
import { ChannelKeys, originKey } from './redis-layout.ts';

/** A script about channels: lua/channel.lua goes before it. */
export const channelScript = (...names: (keyof typeof lua)[]): Script =>
  new Script([lua.channel, ...names.map((name) => lua[name])].join('\n'));

const FAILURES: Failures = {
  full: (held) => new RedisError('REDIS_QUEUE_FULL', `too much waits for Redis (${held}); nothing was sent`),
  late: (what, cause) => new RedisError('REDIS_UNAVAILABLE', what, { cause }),
  wasNotExecuted,
  isUnknown: (error) => error instanceof RedisError && error.code === 'REDIS_OUTCOME_UNKNOWN',
  mayPass,
  isForbidden,
};

export class RedisChannels extends Channels {
  override readonly failures = FAILURES;
  readonly topology: RedisTopology;
  readonly prefix: string;

  constructor(topology: RedisTopology, prefix: string, idleTtl: number, faults: Faults) {
    super(idleTtl, faults);
    this.topology = topology;
    this.prefix = prefix;
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

  override blame(what: string, channel: string, error: unknown): unknown {
    const subject = `${what} ${channel}`;
    if (error instanceof RedisError && error.code === 'REDIS_REPLY_TOO_LONG') {
      this.faults.met(subject, `${JSON.stringify(channel)} can't be read: ${error.message}`, {
        event: 'channel-unreadable',
        channel,
        error: error.message,
      });
      return error;
    }
    if (isForbidden(error)) {
      const words = (error as RedisReplyError).message;
      this.faults.met(`refused ${what}`, `Redis forbids what is needed to ${what}: ${words}`, {
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
    this.faults.met(subject, damaged.message, { event: 'channel-damaged', channel, error: why });
    return damaged;
  }
}

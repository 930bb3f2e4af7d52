/** The schedule in Redis: all of it under keys of one slot, so that each step is one script (lua/schedule.lua). */
import { RedisReplyError } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import type { RespReply } from '../redis/resp-reader.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import { lua } from './lua.ts';
import type { RedisChannels } from './redis-channels.ts';
import type { ChannelKeys } from './redis-layout.ts';
import {
  BELL,
  type Damaged,
  type FailedMessage,
  type LaterMessage,
  LIST_BYTES,
  type ListedMessage,
  type ListedPage,
  type Listing,
  MAX_FAILED,
  type Settled,
  type Taken,
  type Wanted,
} from './schedule.ts';
import {
  type Added,
  type Addition,
  decodeLater,
  encodeAbout,
  type ScheduleStore,
} from './stored-schedule.ts';

const script = (name: 'later' | 'take' | 'settle' | 'cancel' | 'scheduled'): Script =>
  new Script(`${lua.schedule}\n${lua[name]}`);
const laterScript = script('later');
const takeScript = script('take');
const settleScript = script('settle');
const cancelScript = script('cancel');
const listScript = script('scheduled');

const KEYS = ['items', 'when', 'taken', 'tried', 'held', 'lease', 'failed', 'number', 'of:'];
/** Bytes before an item's channel: at, number, and the token of who has added it. */
const HEAD = 28;
const LINE_FEED = 10;

export class RedisSchedule implements ScheduleStore {
  readonly #topology: RedisTopology;
  readonly #chosen: ChannelKeys;
  readonly #keys: string[];

  constructor(channels: RedisChannels) {
    this.#topology = channels.topology;
    this.#chosen = channels.keys(BELL);
    this.#keys = KEYS.map((name) => this.#chosen.own(name));
  }

  check({ channel }: LaterMessage): void {
    if (channel.includes('\n')) throw new TypeError('a channel whose name has a line break');
  }

  async add(additions: readonly Addition[], most: number): Promise<Added[]> {
    const args: RespArgument[] = [this.#topology.publishCommand, this.#chosen.bus, most];
    for (const { message, token } of additions) args.push(message.id, token, message.at, encodeItem(message));
    const replies = (await this.#evaluate(laterScript, args)) as (RespReply[] | Error)[];
    return replies.map((reply) => {
      if (reply instanceof Error) return new RedisReplyError(reply.message, 'EVALSHA');
      return reply.length === 0 ? 'full' : { at: reply[0] as number, wasThere: reply[1] === 1 };
    });
  }

  async cancel(id: string): Promise<boolean> {
    return (await this.#evaluate(cancelScript, [id])) === 1;
  }

  async list({ channel = '', before, limit }: Listing): Promise<ListedPage> {
    const place = before === undefined ? ['', '', ''] : [before.due, before.at, before.number];
    const args = [channel, limit, LIST_BYTES, ...place];
    const reply = (await this.#evaluate(listScript, args, true)) as RespReply[];
    const messages: ListedMessage[] = [];
    for (let i = 2; i < reply.length; i += 3) {
      const item = reply[i + 2] as Buffer;
      const message = decodeItem(String(reply[i]), item);
      if ('damage' in message) continue;
      const place = { due: Number(reply[i + 1]), at: message.at, number: item.readUIntBE(6, 6) };
      messages.push({ ...message, place });
    }
    return { count: reply[0] as number, messages, hasMore: reply[1] === 1 };
  }

  async failed(limit: number): Promise<FailedMessage[]> {
    const key = this.#chosen.own('failed');
    const entries = (await this.#topology.command(key, ['LRANGE', key, 0, limit - 1])) as string[];
    return entries.flatMap((entry) => {
      try {
        return [JSON.parse(String(entry)) as FailedMessage];
      } catch {
        // Somebody else has written it.
        return [];
      }
    });
  }

  async take(holder: string, { now, lease, most, bytes }: Wanted): Promise<Taken> {
    const args = [holder, Math.floor(now), Math.ceil(lease), most, bytes];
    const reply = (await this.#evaluate(takeScript, args, true)) as RespReply[];
    const [state, second, next, ...found] = reply;
    switch (String(state)) {
      case 'none':
        return { state: 'none' };
      case 'other':
        return { state: 'other', left: second as number };
    }
    const messages: (LaterMessage | Damaged)[] = [];
    for (let i = 0; i < found.length; i += 2) {
      messages.push(decodeItem(String(found[i]), found[i + 1] as Buffer));
    }
    const due = String(next) === '' ? Number.POSITIVE_INFINITY : Number(next);
    return { state: 'held', messages, time: second as number, next: due };
  }

  async settle(holder: string, outcomes: readonly Settled[], isLast = false): Promise<void> {
    const args: RespArgument[] = [holder, MAX_FAILED, isLast ? 1 : 0];
    for (const outcome of outcomes) {
      const more =
        outcome.what === 'failed'
          ? JSON.stringify(outcome.failure)
          : 'milliseconds' in outcome
            ? Math.ceil(outcome.milliseconds)
            : '';
      args.push(outcome.what, outcome.id, more);
    }
    await this.#evaluate(settleScript, args);
  }

  #evaluate(script: Script, args: readonly RespArgument[], returnBuffers = false): Promise<RespReply> {
    return this.#topology.evaluate({ script, keys: this.#keys, args, returnBuffers });
  }
}

/** As lua/schedule.lua has it, behind the token. */
function encodeItem(message: LaterMessage): Buffer {
  return Buffer.concat([Buffer.from(`${message.channel}\n${encodeAbout(message)}\n`), message.payload]);
}

function decodeItem(id: string, item: Buffer): LaterMessage | Damaged {
  const line = item.indexOf(LINE_FEED, HEAD);
  const end = line === -1 ? -1 : item.indexOf(LINE_FEED, line + 1);
  if (end === -1) return { id, damage: 'what the store keeps of it is no scheduled message' };
  return decodeLater(item.toString('utf8', line + 1, end), {
    id,
    channel: item.toString('utf8', HEAD, line),
    payload: Buffer.from(item.subarray(end + 1)),
    at: item.readUIntBE(0, 6),
  });
}

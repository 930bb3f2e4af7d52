/** The schedule in Redis: all of it under keys of one slot, so that each step is one script (lua/schedule.lua). */
import { retry } from '../../waiting.ts';
import { isForbidden, RedisError, RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import type { RespReply } from '../redis/resp-reader.ts';
import { Script } from '../redis/script.ts';
import type { PayloadKind } from './broker.ts';
import type { Faults } from './faults.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { lua } from './lua.ts';
import { messageId } from './random-id.ts';
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
  MAX_FAILED,
  type Place,
  type Schedule,
  type Settled,
  type Taken,
  tooMany,
  type Wanted,
} from './schedule.ts';

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
const KINDS: readonly string[] = ['text', 'json', 'binary', 'reference'] satisfies PayloadKind[];
const AGAIN = { min: 25, max: 400 };
/** Bytes that a message counts besides its payload. */
const OVERHEAD = 300;

interface Addition extends Part {
  message: LaterMessage;
  token: string;
  most: number;
}

type Answer = { at: number; wasThere: boolean } | Error;

export class RedisSchedule implements Schedule {
  readonly #channels: RedisChannels;
  readonly #faults: Faults;
  readonly #maxWait: number;
  readonly #chosen: ChannelKeys;
  readonly #keys: string[];
  readonly #closing = new AbortController();
  readonly #additions = new JoinedCalls<Addition, Answer>((parts) => this.#add(parts));

  /** @param maxWait milliseconds that something is tried again while Redis is away or refuses */
  constructor(channels: RedisChannels, faults: Faults, maxWait: number) {
    this.#channels = channels;
    this.#faults = faults;
    this.#maxWait = maxWait;
    this.#chosen = channels.keys(BELL);
    this.#keys = KEYS.map((name) => this.#chosen.own(name));
  }

  async add(message: LaterMessage, most: number): Promise<{ at: number; wasThere: boolean }> {
    if (message.channel.includes('\n')) throw new TypeError('a channel whose name has a line break');
    const bytes = message.payload.length + OVERHEAD;
    const addition = { message, token: messageId(), most, count: 1, bytes };
    // The token tells what an attempt has left whose answer got lost.
    return this.#tried(async () => {
      const answer = await this.#additions.add(undefined, addition);
      if (answer instanceof Error) throw answer;
      return answer;
    });
  }

  async #add(additions: Addition[]): Promise<Answer[]> {
    const { publishCommand } = this.#channels.topology;
    const most = Math.min(...additions.map(({ most }) => most || Number.POSITIVE_INFINITY));
    const args: RespArgument[] = [publishCommand, this.#chosen.bus, Number.isFinite(most) ? most : 0];
    for (const { message, token } of additions) args.push(message.id, token, message.at, encodeItem(message));
    const replies = (await this.#evaluate(laterScript, args)) as (RespReply[] | Error)[];
    return replies.map((reply) => {
      if (reply instanceof Error) return new RedisReplyError(reply.message, 'EVALSHA');
      return reply.length === 0 ? tooMany(most) : { at: reply[0] as number, wasThere: reply[1] === 1 };
    });
  }

  async cancel(id: string): Promise<boolean> {
    return (await this.#tried(() => this.#evaluate(cancelScript, [id]))) === 1;
  }

  async list({
    channel = '',
    before,
    limit,
  }: {
    channel?: string;
    before?: Place;
    limit: number;
  }): Promise<ListedPage> {
    const place = before === undefined ? ['', '', ''] : [before.due, before.at, before.number];
    const args = [channel, limit, LIST_BYTES, ...place];
    const reply = (await this.#tried(() => this.#evaluate(listScript, args, true))) as RespReply[];
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
    const range = () => this.#channels.topology.command(key, ['LRANGE', key, 0, limit - 1]);
    const entries = (await this.#tried(range)) as string[];
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
    let reply: RespReply[];
    try {
      reply = (await this.#about(this.#evaluate(takeScript, args, true))) as RespReply[];
    } catch (error) {
      if (!isForbidden(error)) throw error;
      // Whoever has never scheduled anything misses nothing.
      const { message } = error as Error;
      this.#faults.note(`messages that are scheduled are not sent: ${message}`, {
        event: 'schedule-forbidden',
        error: message,
      });
      return { state: 'none' };
    }
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
    await this.#about(this.#evaluate(settleScript, args));
  }

  close(): void {
    this.#closing.abort();
  }

  #evaluate(script: Script, args: readonly RespArgument[], returnBuffers = false): Promise<RespReply> {
    return this.#channels.topology.evaluate({ script, keys: this.#keys, args, returnBuffers });
  }

  /** All of these can be done twice. */
  #tried<T>(attempt: () => Promise<T>): Promise<T> {
    return this.#about(
      retry(attempt, {
        ...AGAIN,
        maxWait: this.#maxWait,
        signal: this.#closing.signal,
        mayRepeat: (error) =>
          wasNotExecuted(error) || (error instanceof RedisError && error.code === 'REDIS_OUTCOME_UNKNOWN'),
      }),
    );
  }

  #about<T>(answer: Promise<T>): Promise<T> {
    return this.#channels.about('schedule', BELL, answer);
  }
}

/** As lua/schedule.lua has it, behind the token. */
function encodeItem({ channel, kind, payload, settings }: LaterMessage): Buffer {
  const about = JSON.stringify({ ...settings, kind });
  return Buffer.concat([Buffer.from(`${channel}\n${about}\n`), payload]);
}

function decodeItem(id: string, item: Buffer): LaterMessage | Damaged {
  const line = item.indexOf(LINE_FEED, HEAD);
  const end = line === -1 ? -1 : item.indexOf(LINE_FEED, line + 1);
  if (end === -1) return { id, damage: 'what the store keeps of it is no scheduled message' };
  try {
    const { kind, ...settings } = JSON.parse(item.toString('utf8', line + 1, end));
    if (!KINDS.includes(kind)) throw new TypeError(`there is no kind ${String(kind)}`);
    return {
      id,
      channel: item.toString('utf8', HEAD, line),
      kind,
      payload: Buffer.from(item.subarray(end + 1)),
      at: item.readUIntBE(0, 6),
      settings,
    };
  } catch (error) {
    return { id, damage: `what the store keeps of it can't be read: ${(error as Error).message}` };
  }
}

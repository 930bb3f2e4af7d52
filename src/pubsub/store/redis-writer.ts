/**
 * Storing messages in Redis: in order for each channel, and what is said in one turn in one call to each node
 * (lua/publish.lua).
 */
import { RedisReplyError, wasNotExecuted } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import { Script } from '../redis/script.ts';
import { bounded, DEFAULT_IDEMPOTENCY_WINDOW, LONGEST } from './bounds.ts';
import type { Position, PublishOptions, Receipt } from './broker.ts';
import { newStart } from './epochs.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { type Item, type LaneSettings, Lanes, type Outcome } from './lanes.ts';
import { lua } from './lua.ts';
import { expiryOf } from './marks.ts';
import { messageId } from './random-id.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { MARKS_MAGIC, MESSAGE_MAGIC } from './redis-doorbells.ts';
import { type ChannelKeys, encodeKnown, encodeMessage, originKey } from './redis-layout.ts';
import { encodeVersion } from './redis-marks-layout.ts';
import type { RewindWatch } from './rewind-watch.ts';

const publishScript = new Script([lua.lone, lua.channel, lua.append, lua.publish].join('\n'));
/** The same, for calls with messages that expire or replace others. */
const livesScript = channelScript('marks', 'append', 'life', 'publish');

const MOST_MESSAGES = 2 ** 31;
/** Characters of `newStart`. */
const START_BYTES = 12;

interface RedisItem extends Item {
  /** The channel's. */
  keys: ChannelKeys;
}

/** Messages of one channel that are stored together, or something that is only handed on. */
interface Run {
  bus: string;
  keys: ChannelKeys;
  known: Buffer;
  /** It is one message that expires, or replaces another. */
  hasLife: boolean;
  /** That the marks are known to have had, where they may be changed. */
  version: Position | undefined;
  items: RedisItem[];
}

/** What a lane sends at a time. */
interface Shipment extends Part {
  runs: Run[];
  /** One of them has a life. */
  hasLife: boolean;
}

export class RedisWriter {
  readonly #channels: RedisChannels;
  readonly #watch: RewindWatch;
  readonly #lanes: Lanes<RedisItem>;
  readonly #calls = new JoinedCalls<Shipment, Outcome[]>((shipments, slot) => this.#ship(shipments, slot));

  constructor(
    channels: RedisChannels,
    watch: RewindWatch,
    settings: Omit<LaneSettings, 'call' | 'weightOf' | 'failures'>,
  ) {
    this.#channels = channels;
    this.#watch = watch;
    this.#lanes = new Lanes<RedisItem>({
      ...settings,
      failures: channels.failures,
      weightOf,
      call: (items) => this.#store(items),
    });
  }

  /** @returns what the script answered: see `toReceipt` */
  add(channel: string, item: RedisItem): Promise<string> {
    return this.#lanes.add(channel, item);
  }

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#lanes.close();
  }

  /** The call of a lane: all that waits for one channel. */
  async #store(items: RedisItem[]): Promise<Outcome[]> {
    const [first] = items;
    const { keys } = first!;
    const { bus } = keys;
    if (items.length === 1 && first!.options === undefined) {
      await this.#channels.topology.command(bus, [
        this.#channels.topology.publishCommand,
        bus,
        first!.payload,
      ]);
      return [''];
    }
    const known = encodeKnown(this.#watch.knownOf(bus));
    const shipment: Shipment = { runs: [], hasLife: false, count: 0, bytes: 0 };
    let run: Run | undefined;
    for (const item of items) {
      shipment.bytes += item.payload.length;
      shipment.count += weightOf(item);
      const last = run?.items[0]?.options;
      if (run === undefined || last === undefined || !isKeptAlike(last, item.options)) {
        run = { bus, keys, known, hasLife: hasLife(item.options), version: undefined, items: [] };
        if (run.hasLife) {
          run.version = this.#watch.versionOf(bus);
          shipment.hasLife = true;
        }
        shipment.runs.push(run);
      }
      run.items.push(item);
    }
    const outcomes = await this.#calls.add(this.#channels.topology.slotOf(keys.top), shipment);
    // What the server refuses to do just now was not done, and neither shall be what comes after it.
    const refused = outcomes.findIndex((outcome) => outcome instanceof Error && wasNotExecuted(outcome));
    if (refused === 0) throw outcomes[0];
    return refused === -1 ? outcomes : outcomes.slice(0, refused);
  }

  /** One call for all that goes to one node. */
  async #ship(shipments: Shipment[], slot: number | undefined): Promise<Outcome[][]> {
    const keys = [originKey(this.#channels.prefix, slot)];
    const args: RespArgument[] = [];
    const windows: number[] = [];
    let script = publishScript;
    for (const { runs, hasLife } of shipments) {
      for (const run of runs) addRun(run, keys, args, windows);
      if (hasLife) script = livesScript;
    }
    const { publishCommand } = this.#channels.topology;
    const head = Buffer.allocUnsafe(START_BYTES + 6 + 6 * windows.length);
    head.write(newStart(), 'latin1');
    for (const [i, number] of [this.#channels.idleTtl, ...windows].entries()) {
      head.writeUIntBE(number, START_BYTES + 6 * i, 6);
    }
    args.unshift(publishCommand, MESSAGE_MAGIC, head);
    const replies = (await this.#channels.topology.evaluate({ script, keys, args })) as (
      | string
      | number
      | Error
    )[];
    let at = 0;
    return shipments.map(({ runs }) => {
      const outcomes: Outcome[] = [];
      for (const { items } of runs) {
        const epoch = replies[at++]!;
        if (items[0]!.options === undefined) outcomes.push(toOutcome(epoch));
        else for (const { id } of items) outcomes.push(toOutcome(replies[at++]!, epoch as string, id));
      }
      return outcomes;
    });
  }
}

function isKeptAlike(one: PublishOptions, other: PublishOptions | undefined): boolean {
  if (other === undefined || hasLife(one) || hasLife(other)) return false;
  const { maxAge, maxMessages } = one.retention;
  return other.retention.maxAge === maxAge && other.retention.maxMessages === maxMessages;
}

function hasLife({ ttl, replaces }: Pick<PublishOptions, 'ttl' | 'replaces'> = {}): boolean {
  return expiryOf(0, ttl) !== undefined || replaces !== undefined;
}

/** With a life, all marks of the channel are read and written, too, which may be thousands of ranges. */
function weightOf({ options }: Item): number {
  return hasLife(options) ? LIFE_WEIGHT : 1;
}
const LIFE_WEIGHT = 8;

/** Adds a run as lua/publish.lua takes it. */
function addRun(run: Run, keys: string[], args: RespArgument[], windows: number[]): void {
  const { items, known } = run;
  const { options, payload } = items[0]!;
  if (options === undefined) {
    args.push(run.bus, HANDED_ON, payload);
    return;
  }
  keys.push(run.keys.top, run.keys.list);
  const what = Buffer.allocUnsafe(11 + items.length + known.length);
  what[0] = items.length;
  what.writeUIntBE(bounded(options.retention.maxAge, LONGEST), 1, 6);
  what.writeUInt32BE(bounded(options.retention.maxMessages, MOST_MESSAGES), 7);
  known.copy(what, 11 + items.length);
  args.push(run.bus, what);
  for (const [i, { id, kind, payload, options }] of items.entries()) {
    const { idempotencyKey, idempotencyWindow = DEFAULT_IDEMPOTENCY_WINDOW } = options!;
    what[11 + i] = 0;
    if (idempotencyKey !== undefined) {
      what[11 + i] = numberOf(bounded(idempotencyWindow, LONGEST), windows);
      keys.push(run.keys.receipt(idempotencyKey));
    }
    args.push(encodeMessage(id, kind, payload, ttlOf(options!), options!.trace));
  }
  if (!run.hasLife) return;
  what[0] = ONE_WITH_LIFE;
  keys.push(run.keys.marks, run.keys.replaceable, run.keys.expiries);
  args.push(encodeLife(options, run.version));
}
const ONE_WITH_LIFE = 128 + 1;

/** Whole milliseconds. */
function ttlOf({ ttl }: PublishOptions): number | undefined {
  return expiryOf(0, ttl);
}

/** @param version that the marks are known to have had */
function encodeLife(options: PublishOptions, version: Position | undefined): Buffer {
  const known = encodeVersion(version);
  const numbers = Buffer.alloc(6);
  numbers.writeUIntBE(ttlOf(options) ?? 0, 0, 6);
  const text = (value: string): Buffer => Buffer.from(value);
  return Buffer.concat([
    numbers,
    text(messageId() + MARKS_MAGIC),
    Buffer.of(known.length),
    known,
    text(options.replaces ?? ''),
  ]);
}
const HANDED_ON = Buffer.alloc(1);

/** Which one it is, from 1 on; it is added if it is none yet. */
function numberOf(value: number, numbers: number[]): number {
  const at = numbers.indexOf(value);
  return at === -1 ? numbers.push(value) : at + 1;
}

/** What became of a message, of what the script answered for it. */
function toOutcome(reply: string | number | Error, epoch = '', id = ''): Outcome {
  if (typeof reply === 'number') return `0 ${epoch} ${reply} ${id}`;
  if (typeof reply === 'string') return reply === '' ? '' : `1 ${reply}`;
  return new RedisReplyError(reply.message, 'EVALSHA');
}

/** @param id that this call chose: a receipt with it is of this call's own first attempt, and no duplicate */
export function toReceipt(channel: string, reply: string, id: string): Receipt {
  const [known, epoch, offset, stored] = reply.split(' ') as [string, string, string, string];
  return { channel, epoch, offset: Number(offset), id: stored, duplicate: known === '1' && stored !== id };
}

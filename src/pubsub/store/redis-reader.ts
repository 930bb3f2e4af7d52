/**
 * Reading the logs that Redis keeps: pages of them, and where channels stand. With plain commands where these are
 * enough, as they cost a quarter of the script.
 */
import { RedisError, RedisReplyError } from '../redis/errors.ts';
import { PAGE_BYTES } from './bounds.ts';
import {
  DamagedChannelError,
  type LogPage,
  type Opening,
  type Position,
  type StoredMessage,
} from './broker.ts';
import { newStart, ORIGIN } from './epochs.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { ANY_NUMBER, type Marked, NO_MARKS } from './marks.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { decodeCursors } from './redis-devices.ts';
import {
  type ChannelKeys,
  decodeEntry,
  decodeTop,
  encodeKnown,
  originKey,
  readAt,
  type Top,
} from './redis-layout.ts';
import type { RedisMarks } from './redis-marks.ts';
import { decodeMarks, markedOf, type StoredMarks } from './redis-marks-layout.ts';
import { hasRewound, positionOf, type RewindWatch } from './rewind-watch.ts';

const readScript = channelScript('look', 'read');
const renewScript = channelScript('renew');

/** Bytes that an entry of a log is taken to have at most, unless it is known to be otherwise. */
const USUAL_ENTRY = 4096;
/** Bytes of an entry besides its payload, at most. */
const ENTRY_OVERHEAD = 256;
/** Messages that a channel may have got since it was last heard of, for a plain read to be enough. */
const SLACK = 4;
/** Channels that are asked for in one command. */
const TOPS_AT_ONCE = 200;

interface OpeningPart extends Part {
  keys: ChannelKeys;
}

/** What is asked of one channel. */
interface Found {
  origin: Promise<Buffer | null>;
  /** The store's clock: seconds and microseconds. */
  time: Promise<[string, string]>;
  marks: Promise<Buffer | null>;
  /** The top, the length of the list, and the top once more: where it is the same, that was its list. */
  channel: Promise<[Buffer | null, number, Buffer | null]>;
  devices: Promise<string[]>;
}

export class RedisReader {
  readonly #channels: RedisChannels;
  readonly #watch: RewindWatch;
  readonly #marks: RedisMarks;
  readonly #openings = new JoinedCalls<OpeningPart, Found>((parts, slot) => this.#open(parts, slot));
  /** Of subscribed channels with entries that are larger than usual, by name on the bus: the bytes of the largest. */
  readonly #big = new Map<string, number>();

  constructor(channels: RedisChannels, watch: RewindWatch, marks: RedisMarks) {
    this.#channels = channels;
    this.#watch = watch;
    this.#marks = marks;
  }

  async read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#channels.about('read', channel, this.#page(channel, offset, limit));
  }

  /** Gives a channel another epoch if its log lacks what is known of it. */
  async compare(channel: string, known: Position): Promise<void> {
    const { topology, idleTtl } = this.#channels;
    const keys = this.#channels.lookKeys(this.#channels.keys(channel));
    await topology.evaluate({ script: renewScript, keys, args: [newStart(), idleTtl, encodeKnown(known)] });
  }

  /** As Broker.tops. */
  async tops(channels: string[]): Promise<(Position | Error)[]> {
    const tops: (Position | Error)[] = new Array(channels.length);
    const groups = new Map<number | undefined, number[]>();
    const calls: Promise<void>[] = [];
    for (const [i, channel] of channels.entries()) {
      const slot = this.#channels.topology.slotOf(this.#channels.keys(channel).top);
      const group = groups.get(slot);
      if (group !== undefined && group.length < TOPS_AT_ONCE) group.push(i);
      else {
        const opened = [i];
        groups.set(slot, opened);
        // With all that the loop adds to it.
        calls.push(Promise.resolve().then(() => this.#askTops(channels, opened, tops)));
      }
    }
    await Promise.all(calls);
    return tops;
  }

  /** As Broker.opening. */
  opening(channel: string): Promise<Opening> {
    return this.#channels.about('top', channel, this.#find(channel));
  }

  /** A message of a subscribed channel has so many bytes. */
  heard(bus: string, bytes: number): void {
    if (bytes > USUAL_ENTRY / 2)
      this.#big.set(bus, Math.max(this.#big.get(bus) ?? USUAL_ENTRY, bytes + ENTRY_OVERHEAD));
  }

  unsubscribed(bus: string): void {
    this.#big.delete(bus);
  }

  async #page(channel: string, offset: number, limit: number): Promise<LogPage> {
    const plain = await this.#plainPage(channel, offset, limit).catch((error) => {
      if (error instanceof RedisError && error.code === 'REDIS_REPLY_TOO_LONG') return undefined;
      // A Redis that is full refuses every transaction, as it has to be collected.
      if (error instanceof RedisReplyError && error.prefix === 'OOM') return undefined;
      throw error;
    });
    return plain ?? this.#scriptPage(channel, offset, limit);
  }

  /** With plain commands, which cost a quarter of the script; `undefined` where they are not enough. */
  async #plainPage(channel: string, offset: number, limit: number): Promise<LogPage | undefined> {
    const keys = this.#channels.keys(channel);
    const known = this.#watch.knownOf(keys.bus);
    if (known === undefined) return undefined;
    const behind = Math.max(0, known.offset - offset);
    const wanted = Math.min(limit, behind);
    if (wanted * (this.#big.get(keys.bus) ?? USUAL_ENTRY) > PAGE_BYTES) return undefined;
    const from = -(behind + SLACK);
    const [stored, length, entries, time] = (await this.#channels.topology.transaction(keys.top, [
      ['GET', keys.top],
      ['LLEN', keys.list],
      ['LRANGE', keys.list, from, Math.min(-1, from + limit + SLACK - 1)],
      ['TIME'],
    ])) as [Buffer | null, number, Buffer[], [Buffer, Buffer]];
    if (stored === null) return undefined;
    const top = decodeTop(stored);
    const now = millisecondsOf(time);
    if (hasRewound(known, top) || now >= top.renew || top.head <= now - top.age) return undefined;
    this.#learn(keys.bus, top);
    const first = top.offset - Math.min(length, top.most) + 1;
    const messages = this.#decode(channel, top.epoch, entries, now);
    const next = Math.max(offset + 1, first);
    const start = messages.findIndex((message) => message.offset >= next);
    if (next <= top.offset && messages[start]?.offset !== next) return undefined;
    const page: StoredMessage[] = [];
    let bytes = 0;
    for (let i = start; i !== -1 && i < messages.length && page.length < limit && bytes < PAGE_BYTES; i++) {
      if (messages[i]!.offset !== next + page.length) return undefined;
      page.push(messages[i]!);
      bytes += messages[i]!.payload.length;
    }
    // The range began before the log does.
    const isShort = page.length < limit && bytes < PAGE_BYTES && next + page.length <= top.offset;
    return isShort ? undefined : { messages: page, top: positionOf(top), first };
  }

  async #scriptPage(channel: string, offset: number, limit: number): Promise<LogPage> {
    const keys = this.#channels.keys(channel);
    const known = encodeKnown(this.#watch.knownOf(keys.bus));
    const reply = (await this.#channels.topology.evaluate({
      script: readScript,
      keys: this.#channels.lookKeys(keys),
      args: [newStart(), this.#channels.idleTtl, known, offset, limit, PAGE_BYTES],
      returnBuffers: true,
    })) as [Buffer, number | Buffer, number, ...Buffer[]];
    const [stored, second, now, ...entries] = reply;
    if (stored.length === 0) {
      return { messages: [], top: this.#channels.unused(String(second), now), first: 1 };
    }
    const top = decodeTop(stored);
    this.#learn(keys.bus, top);
    const messages = this.#decode(channel, top.epoch, entries, now);
    return { messages, top: positionOf(top), first: Number(second) };
  }

  #decode(channel: string, epoch: string, entries: Buffer[], now: number): StoredMessage[] {
    return entries.map((entry) => {
      const message = decodeEntry(channel, epoch, entry, 0, entry.length);
      if (message === undefined) throw new RedisReplyError('ERR an entry of the log that is no message');
      return readAt(now, message);
    });
  }

  #learn(bus: string, top: Top): void {
    this.#watch.learned(bus, positionOf(top));
    if (top.big > USUAL_ENTRY && this.#watch.channelOf(bus) !== undefined) this.#big.set(bus, top.big);
  }

  async #askTops(channels: string[], which: number[], tops: (Position | Error)[]): Promise<void> {
    const keys = which.map((i) => this.#channels.keys(channels[i]!));
    // Of what is no string, MGET says nothing. A list that is one was overwritten by somebody.
    const command = ['MGET', ...keys.flatMap(({ top, list }) => [top, list])] as const;
    const asked = this.#channels.topology.commandBuffers(command[1]!, command).catch((error) => {
      throw this.#channels.blame('top', channels[which[0]!]!, error);
    });
    const stored = (await asked) as (Buffer | null)[];
    await Promise.all(
      which.map(async (i, k) => {
        try {
          tops[i] = await this.#channels.about(
            'top',
            channels[i]!,
            this.#judgeTop(channels[i]!, keys[k]!, stored[2 * k]!, stored[2 * k + 1]!),
          );
        } catch (error) {
          // Otherwise the store is away, or refuses: that is about all of them.
          if (!(error instanceof DamagedChannelError)) throw error;
          tops[i] = error;
        }
      }),
    );
  }

  /**
   * With plain commands, which go in one write and cost less than a script. The clock and the origin come first: who finds
   * a channel unused has looked no earlier than that.
   */
  async #open(parts: OpeningPart[], slot: number | undefined): Promise<Found[]> {
    const { topology, prefix } = this.#channels;
    const key = originKey(prefix, slot);
    const get = (name: string) => topology.commandBuffers(name, ['GET', name]) as Promise<Buffer | null>;
    const origin = get(key);
    const time = topology.command(key, ['TIME']) as Found['time'];
    const found = parts.map(
      ({ keys: { top, list, devices, marks } }): Found => ({
        origin,
        time,
        // Before the top, as they are never ahead of it.
        marks: get(marks),
        channel: Promise.all([get(top), topology.command(list, ['LLEN', list]) as Promise<number>, get(top)]),
        devices: topology.command(devices, ['HGETALL', devices]) as Found['devices'],
      }),
    );
    // What comes meanwhile is collected. Each channel is told what became of its own.
    const all = found.flatMap(({ marks, channel, devices }) => [marks, channel, devices]);
    await Promise.allSettled([origin, time, ...all]);
    return found;
  }

  async #find(channel: string): Promise<Opening> {
    const keys = this.#channels.keys(channel);
    const slot = this.#channels.topology.slotOf(keys.top);
    const found = await this.#openings.add(slot, { keys, count: 1, bytes: 0 });
    const [top, length, again] = await found.channel;
    const now = millisecondsOf(await found.time);
    const cursors = await found.devices.then(
      (devices) => decodeCursors(channel, devices),
      () => undefined,
    );
    if (top === null) {
      const origin = await found.origin;
      // Without a top, it was never used or has lost something.
      const isUnused = length === 0 && this.#watch.knownOf(keys.bus) === undefined;
      if (isUnused && origin?.length === ORIGIN) {
        const unused = this.#channels.unused(String(origin), now);
        return { top: unused, cursors, marked: { marks: NO_MARKS, top: unused, first: 1, most: ANY_NUMBER } };
      }
    } else if (again?.equals(top)) {
      const stored = await found.marks.then(decodeIfThere).catch(() => undefined);
      if (stored === undefined) {
        return { top: await this.#topOf(channel, keys.bus, decodeTop(top)), cursors, marked: undefined };
      }
      const marked = this.#plainMarked(keys.bus, decodeTop(top), length, stored, now);
      if (marked !== undefined) return { top: marked.top, cursors, marked };
    }
    // Where the marks are damaged, the channel can be read.
    const marked = await this.#marks.look(channel).catch(() => undefined);
    return { top: marked?.top ?? (await this.#scriptPage(channel, 0, 0)).top, cursors, marked };
  }

  /** What was read with plain commands; `undefined` where it has to be put right first. @param stored null: no marks */
  #plainMarked(
    bus: string,
    top: Top,
    length: number,
    stored: StoredMarks | null,
    now: number,
  ): Marked | undefined {
    const isDue = now >= top.renew || (length > 0 && top.head <= now - top.age);
    if (isDue || hasRewound(this.#watch.knownOf(bus), top)) return undefined;
    const known = this.#watch.versionOf(bus);
    if (stored === null) {
      if (known !== undefined) return undefined;
    } else {
      const { at, marks } = stored;
      const isOwn = at.epoch === top.epoch && !hasRewound(at, top);
      if (!isOwn || hasRewound(known, marks.version) || (marks.next ?? now + 1) <= now) return undefined;
      this.#watch.learnedVersion(bus, marks.version);
    }
    this.#learn(bus, top);
    return markedOf(top, length, stored?.marks ?? NO_MARKS);
  }

  async #judgeTop(
    channel: string,
    { bus, top: key }: ChannelKeys,
    stored: Buffer | null,
    list: Buffer | null,
  ): Promise<Position> {
    if (list !== null) throw new RedisReplyError('WRONGTYPE the log is a string and no list');
    const known = this.#watch.knownOf(bus);
    // MGET passes over what is no string.
    const value =
      stored ??
      (known === undefined ? null : await this.#channels.topology.commandBuffers(key, ['GET', key]));
    if (value === null) return { epoch: '', offset: 0, id: '' };
    return this.#topOf(channel, bus, decodeTop(value as Buffer));
  }

  async #topOf(channel: string, bus: string, top: Top): Promise<Position> {
    const isDue = hasRewound(this.#watch.knownOf(bus), top) || Date.now() >= top.renew;
    if (isDue) return (await this.#scriptPage(channel, 0, 0)).top;
    this.#learn(bus, top);
    return positionOf(top);
  }
}

function decodeIfThere(bytes: Buffer | null): StoredMarks | null {
  return bytes === null ? null : decodeMarks(bytes);
}

/** @param time what TIME answers */
function millisecondsOf([seconds, microseconds]: readonly [string | Buffer, string | Buffer]): number {
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}

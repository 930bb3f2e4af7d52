/** The marks of channels in Redis (lua/mark.lua): in the order of the calls for each channel, in calls that are short. */
import { isIn, retry } from '../../waiting.ts';
import { RedisError, wasNotExecuted } from '../redis/errors.ts';
import type { RespArgument } from '../redis/resp-encoder.ts';
import type { Position } from './broker.ts';
import { newStart } from './epochs.ts';
import {
  ANY_NUMBER,
  checkMark,
  type Mark,
  type MarkAs,
  type Marked,
  NO_MARKS,
  type Removal,
  TooManyRangesError,
} from './marks.ts';
import { messageId } from './random-id.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { MARKS_MAGIC } from './redis-doorbells.ts';
import { decodeTop, encodeKnown } from './redis-layout.ts';
import {
  decodeMarks,
  encodePositions,
  encodeVersion,
  markedOf,
  POSITION_BYTES,
} from './redis-marks-layout.ts';
import { hasRewound, positionOf, type RewindWatch } from './rewind-watch.ts';

const markScript = channelScript('look', 'marks', 'mark');

const AGAIN = { min: 25, max: 400 };
/** Milliseconds that a call waits behind others, where none is tried again. */
const LEAST_WAIT = 10_000;
/** What is left to do: everything. */
const ALL_LEFT = -1;

/** What a call asks for, as lua/mark.lua takes it. */
interface Request {
  as: MarkAs | 'withdrawn' | '';
  which?: 'all' | 'upTo' | 'messages' | 'key';
  args?: readonly (string | Buffer)[];
}

type Answer = [top: Buffer, length: number | Buffer, marks: Buffer | number, changed: number, left: number];

export class RedisMarks {
  readonly #channels: RedisChannels;
  readonly #watch: RewindWatch;
  readonly #maxWait: number;
  /** By channel: what its next call waits for. */
  readonly #lanes = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();

  /** @param maxWait milliseconds that a call is tried again, while the store is away or refuses */
  constructor(channels: RedisChannels, watch: RewindWatch, maxWait: number) {
    this.#channels = channels;
    this.#watch = watch;
    this.#maxWait = maxWait;
  }

  /** As Broker.mark. */
  async mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    checkMark(mark);
    const request = requestOf(mark);
    return this.#inOrder(channel, () => this.#change(channel, request));
  }

  /** As Broker.remove. */
  async remove(channel: string, which: Removal): Promise<boolean> {
    const request: Request =
      'key' in which
        ? { as: 'withdrawn', which: 'key', args: [which.key] }
        : { as: 'withdrawn', which: 'messages', args: byEpoch([which.position]) };
    const { changed } = await this.#inOrder(channel, () => this.#change(channel, request));
    return changed > 0;
  }

  /** As Broker.marks. */
  marks(channel: string): Promise<Marked> {
    return this.#channels.about('marks', channel, this.look(channel));
  }

  /** As `marks`, without judging what went wrong. */
  async look(channel: string): Promise<Marked> {
    for (;;) {
      const { marked, left } = await this.#call(channel, { as: '' }, messageId());
      if (left === 0) return marked;
    }
  }

  /** Gives the marks another epoch if they lack the version that is known, which is that of a change. */
  async compare(channel: string): Promise<void> {
    const { bus, marks } = this.#channels.keys(channel);
    const stored = (await this.#channels.topology.commandBuffers(marks, ['GET', marks])) as Buffer | null;
    const hasLost =
      stored === null || hasRewound(this.#watch.versionOf(bus), decodeMarks(stored).marks.version);
    if (hasLost) await this.look(channel);
  }

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#closing.abort();
  }

  #inOrder<T>(channel: string, work: () => Promise<T>): Promise<T> {
    const former = this.#lanes.get(channel);
    const answer = former === undefined ? work() : this.#behind(former, channel, work);
    const own = this.#channels.about('mark', channel, answer);
    const settled = Promise.allSettled([former, own]).then(() => {
      if (this.#lanes.get(channel) === settled) this.#lanes.delete(channel);
    });
    this.#lanes.set(channel, settled);
    return own;
  }

  /** What has waited too long behind others is not sent any more: all of them wait for the same store. */
  async #behind<T>(former: Promise<void>, channel: string, work: () => Promise<T>): Promise<T> {
    const patience = this.#maxWait || LEAST_WAIT;
    if (await isIn(former, patience)) return work();
    const what = `a mark of ${channel} waited ${patience} ms behind others, nothing was sent`;
    throw new RedisError('REDIS_UNAVAILABLE', what);
  }

  async #change(channel: string, request: Request): Promise<Marked & { changed: number }> {
    let next = request;
    let changed = 0;
    for (;;) {
      const id = messageId();
      const answer = await retry(() => this.#call(channel, next, id), {
        ...AGAIN,
        maxWait: this.#maxWait,
        // With the same id, it is found out if it was done, as long as nobody has marked anything since. After that, it
        // does no harm either, but where it is about all there is by then.
        mayRepeat: (error) => wasNotExecuted(error) || (isUnknown(error) && next.which !== 'all'),
        signal: this.#closing.signal,
      });
      if (answer.changed < 0) throw new TooManyRangesError(-answer.changed);
      changed += answer.changed;
      if (answer.left === 0) return { ...answer.marked, changed };
      if (answer.left !== ALL_LEFT) next = theRest(next, answer.marked.top, answer.left);
    }
  }

  async #call(
    channel: string,
    request: Request,
    id: string,
  ): Promise<{ marked: Marked; changed: number; left: number }> {
    const { topology, idleTtl } = this.#channels;
    const keys = this.#channels.keys(channel);
    const { bus, marks: own, replaceable, expiries } = keys;
    const args: RespArgument[] = [
      newStart(),
      idleTtl,
      encodeKnown(this.#watch.knownOf(bus)),
      encodeVersion(this.#watch.versionOf(bus)),
      id,
      topology.publishCommand,
      MARKS_MAGIC,
      bus,
      request.as,
      request.which ?? '',
      ...(request.args ?? []),
    ];
    const all = [...this.#channels.lookKeys(keys), own, replaceable, expiries];
    const call = { script: markScript, keys: all, args, returnBuffers: true };
    const [stored, length, marks, changed, left] = (await topology.evaluate(call)) as Answer;
    if (stored.length === 0) {
      const top = this.#channels.unused(String(length), Number(marks));
      return { marked: { marks: NO_MARKS, top, first: 1, most: ANY_NUMBER }, changed: 0, left: 0 };
    }
    const top = decodeTop(stored);
    const kept = (marks as Buffer).length === 0 ? NO_MARKS : decodeMarks(marks as Buffer).marks;
    const marked = markedOf(top, Number(length), kept);
    this.#watch.learned(bus, positionOf(top));
    this.#watch.learnedVersion(bus, marked.marks.version);
    return { marked, changed, left };
  }
}

function requestOf({ as, upTo, messages }: Mark): Request {
  if (messages !== undefined) return { as, which: 'messages', args: byEpoch(messages) };
  return upTo === undefined ? { as, which: 'all' } : { as, which: 'upTo', args: byEpoch([upTo]) };
}

/** Epoch and positions by turns: which epoch is the channel's, only the store can tell. */
function byEpoch(positions: readonly Position[]): (string | Buffer)[] {
  const groups = new Map<string, Position[]>();
  for (const position of positions) {
    const group = groups.get(position.epoch);
    if (group === undefined) groups.set(position.epoch, [position]);
    else group.push(position);
  }
  return [...groups].flatMap(([epoch, group]) => [epoch, encodePositions(group)]);
}

/** What is to be asked for after a call that has done some of it. @param top of the channel, then */
function theRest({ as, which, args }: Request, top: Position, left: number): Request {
  if (which === 'all') return { as, which: 'upTo', args: byEpoch([top]) };
  if (which !== 'messages') return { as, which: which!, args: args! };
  const positions = args![args!.indexOf(top.epoch) + 1] as Buffer;
  return { as, which, args: [top.epoch, positions.subarray(positions.length - POSITION_BYTES * left)] };
}

function isUnknown(error: unknown): boolean {
  return error instanceof RedisError && error.code === 'REDIS_OUTCOME_UNKNOWN';
}

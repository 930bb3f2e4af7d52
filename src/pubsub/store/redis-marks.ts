/** The marks of channels in Redis (lua/mark.lua). */
import type { RespArgument } from '../redis/resp-encoder.ts';
import type { Position } from './broker.ts';
import { newStart } from './epochs.ts';
import { ANY_NUMBER, type Marked, NO_MARKS } from './marks.ts';
import { messageId } from './random-id.ts';
import { channelScript, type RedisChannels } from './redis-channels.ts';
import { MARKS_MAGIC } from './redis-doorbells.ts';
import { decodeTop, encodeKnown } from './redis-layout.ts';
import { ascending, decodeMarks, encodePositions, encodeVersion, markedOf } from './redis-marks-layout.ts';
import { hasRewound, positionOf, type RewindWatch } from './rewind-watch.ts';
import { type MarkAnswer, type MarkRequest, restOf, StoredMarks } from './stored-marks.ts';

const markScript = channelScript('look', 'marks', 'mark');

/** What is left to do: everything. */
const ALL_LEFT = -1;

type Answer = [top: Buffer, length: number | Buffer, marks: Buffer | number, changed: number, left: number];

export class RedisMarks extends StoredMarks {
  readonly #channels: RedisChannels;
  readonly #watch: RewindWatch;

  /** @param maxWait milliseconds that a call is tried again, while Redis is away or refuses */
  constructor(channels: RedisChannels, watch: RewindWatch, maxWait: number) {
    super(channels, maxWait);
    this.#channels = channels;
    this.#watch = watch;
  }

  override async look(channel: string): Promise<Marked> {
    for (;;) {
      const { marked, rest } = await this.call(channel, { as: '' }, messageId());
      if (rest === undefined) return marked;
    }
  }

  override async compare(channel: string): Promise<void> {
    const { bus, marks } = this.#channels.keys(channel);
    const stored = (await this.#channels.topology.commandBuffers(marks, ['GET', marks])) as Buffer | null;
    const hasLost =
      stored === null || hasRewound(this.#watch.versionOf(bus), decodeMarks(stored).marks.version);
    if (hasLost) await this.look(channel);
  }

  protected override async call(
    channel: string,
    request: MarkRequest,
    id: string,
  ): Promise<MarkAnswer & { marked: Marked }> {
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
      ...(request.key === undefined ? byEpoch(request.positions ?? []) : [request.key]),
    ];
    const all = [...this.#channels.lookKeys(keys), own, replaceable, expiries];
    const call = { script: markScript, keys: all, args, returnBuffers: true };
    const [stored, length, marks, changed, left] = (await topology.evaluate(call)) as Answer;
    if (stored.length === 0) {
      const top = this.#channels.unused(String(length), Number(marks));
      const marked = { marks: NO_MARKS, top, first: 1, most: ANY_NUMBER };
      return { marked, changed: 0, rest: undefined };
    }
    const top = decodeTop(stored);
    const kept = (marks as Buffer).length === 0 ? NO_MARKS : decodeMarks(marks as Buffer).marks;
    const marked = markedOf(top, Number(length), kept);
    this.#watch.learned(bus, positionOf(top));
    this.#watch.learnedVersion(bus, marked.marks.version);
    return { marked, changed, rest: left === 0 ? undefined : theRest(request, marked.top, left) };
  }
}

/** Epoch and positions by turns: which epoch is the channel's, only the store can tell. */
function byEpoch(positions: readonly Position[]): (string | Buffer)[] {
  const groups = new Map<string, Position[]>();
  for (const position of positions) {
    const group = groups.get(position.epoch);
    if (group === undefined) groups.set(position.epoch, [position]);
    else group.push(position);
  }
  return [...groups].flatMap(([epoch, group]) => [epoch, encodePositions(ascending(group))]);
}

/** What is to be asked for after a call that has left so many. @param top of the channel, then */
function theRest(request: MarkRequest, top: Position, left: number): MarkRequest {
  if (left === ALL_LEFT) return request;
  if (request.which !== 'messages') return restOf(request, top);
  const own = ascending(request.positions!.filter(({ epoch }) => epoch === top.epoch));
  return { ...request, positions: own.slice(-left) };
}

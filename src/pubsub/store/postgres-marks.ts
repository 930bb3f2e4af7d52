/** The marks of channels in PostgreSQL (sql/marks.sql). */
import type { Statement } from '../postgres/link.ts';
import { toText } from '../postgres/text.ts';
import type { Position } from './broker.ts';
import { ANY_NUMBER, type Marked, NO_MARKS, type Ranges } from './marks.ts';
import { encodeKnown, type PostgresChannels } from './postgres-channels.ts';
import { messageId } from './random-id.ts';
import { positionOf, type RewindWatch } from './rewind-watch.ts';
import { type MarkAnswer, type MarkRequest, restOf, StoredMarks } from './stored-marks.ts';

const MARK: Statement = {
  name: 'mark',
  text: 'SELECT * FROM tidings.mark($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)',
};
const MARKS: Statement = { name: 'marks', text: 'SELECT tidings.marks($1, $2, $3, $4) AS marked' };

/** What is left to do: everything. */
const ALL_LEFT = -1;

interface Answer {
  /** As tidings.written has them. */
  marked: string;
  changed: number;
  rest: number;
}

export class PostgresMarks extends StoredMarks {
  readonly #channels: PostgresChannels;
  readonly #watch: RewindWatch;

  /** @param maxWait milliseconds that a call is tried again, while PostgreSQL is away or refuses */
  constructor(channels: PostgresChannels, watch: RewindWatch, maxWait: number) {
    super(channels, maxWait);
    this.#channels = channels;
    this.#watch = watch;
  }

  override async look(channel: string): Promise<Marked> {
    for (;;) {
      const known = [encodeKnown(this.#watch.knownOf(channel)), encodeKnown(this.#watch.versionOf(channel))];
      const values = [toText(channel), this.#channels.idleTtl, ...known];
      const [row] = await this.#channels.link.query<{ marked: string | null }>(MARKS, values);
      const found = row!.marked;
      if (found !== null) return this.#learned(channel, decode(found)!);
      const { marked, rest } = await this.call(channel, { as: '' }, messageId());
      if (rest === undefined && marked !== undefined) return marked;
    }
  }

  override async compare(channel: string): Promise<void> {
    await this.look(channel);
  }

  protected override async call(channel: string, request: MarkRequest, id: string): Promise<MarkAnswer> {
    const { as, which, key } = request;
    const positions = (request.positions ?? []).filter(isPossible);
    const { idleTtl } = this.#channels;
    const [answer] = await this.#channels.locking<Answer>(MARK, [
      toText(channel),
      encodeKnown(this.#watch.knownOf(channel)),
      idleTtl,
      encodeKnown(this.#watch.versionOf(channel)),
      id,
      as,
      which,
      key === undefined ? undefined : toText(key),
      positions.map(({ epoch }) => epoch),
      positions.map(({ offset }) => offset),
      positions.map(({ id }) => id),
    ]);
    const { marked: written, changed, rest } = answer!;
    const marked = decode(written);
    if (marked !== undefined) this.#learned(channel, marked);
    if (rest === 0) return { marked, changed, rest: undefined };
    return { marked, changed, rest: rest === ALL_LEFT ? request : restOf(request, topOf(written)) };
  }

  #learned(channel: string, marked: Marked): Marked {
    this.#watch.learned(channel, positionOf(marked.top));
    this.#watch.learnedVersion(channel, marked.marks.version);
    return marked;
  }
}

/** Whether it may be the position of a message, and PostgreSQL can be asked. */
function isPossible({ epoch, offset, id }: Position): boolean {
  return PRINTABLE.test(epoch) && PRINTABLE.test(id) && Number.isSafeInteger(offset) && offset > 0;
}
const PRINTABLE = /^[!-~]+$/;

/** As tidings.written has them. */
type Written = [
  epoch: string,
  offset: number,
  id: string,
  first: number,
  most: number,
  next: number | null,
  versionEpoch: string,
  versionOffset: number,
  versionId: string,
  ...ranges: string[],
];

function topOf(written: string): Position {
  const [epoch, offset, id] = JSON.parse(written) as Written;
  return { epoch, offset, id };
}

/** What a bell says of marks; `undefined` where they have to be asked for, as they are long. */
export function decodeMarked(text: string): Marked | undefined {
  try {
    return decode(text);
  } catch {
    // Anybody may notify anything.
    return undefined;
  }
}

/** As `decodeMarked`, of what can only be ours. */
function decode(text: string): Marked | undefined {
  const [epoch, offset, id, first, most, next, versionEpoch, versionOffset, versionId, ...ranges] =
    JSON.parse(text) as Written;
  const isOurs =
    [epoch, id, versionEpoch, versionId, ...ranges].every((value) => typeof value === 'string') &&
    [offset, first, most, versionOffset, next ?? 0].every(Number.isSafeInteger);
  if (!isOurs) throw new TypeError('these are no marks');
  if (ranges.length < 4) return undefined;
  const [seen, read, archived, gone] = ranges.map(decodeRanges) as [Ranges, Ranges, Ranges, Ranges];
  const version =
    versionOffset === 0 ? NO_MARKS.version : { epoch: versionEpoch, offset: versionOffset, id: versionId };
  return {
    marks: { version, seen, read, archived, gone, ...(next !== null && { next }) },
    top: { epoch, offset, id },
    first,
    // A channel that was begun anew by who looked.
    most: most || ANY_NUMBER,
  };
}

/** `{[1,6),[9,10)}` */
function decodeRanges(text: string): Ranges {
  const ranges: [number, number][] = [];
  for (const [, first, end] of text.matchAll(/\[(\d+),(\d+)\)/g))
    ranges.push([Number(first), Number(end) - 1]);
  return ranges;
}

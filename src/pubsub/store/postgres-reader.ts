/** Reading the logs that PostgreSQL keeps: pages of them, and where channels stand (sql/log.sql, sql/cursor.sql). */
import { PostgresReplyError } from '../postgres/errors.ts';
import type { Statement } from '../postgres/link.ts';
import { fromText, toText } from '../postgres/text.ts';
import { PAGE_BYTES } from './bounds.ts';
import type { Cursor, LogPage, Opening, Position, StoredMessage } from './broker.ts';
import { JoinedCalls, type Part } from './joined-calls.ts';
import { ANY_NUMBER, NO_MARKS } from './marks.ts';
import { encodeKnown, type PostgresChannels } from './postgres-channels.ts';
import { kindOf } from './postgres-letters.ts';
import { decodeMarked, type PostgresMarks } from './postgres-marks.ts';
import { hasRewound, positionOf, type RewindWatch } from './rewind-watch.ts';

const READ: Statement = { name: 'read', text: 'SELECT * FROM tidings.read($1, $2, $3, $4, $5, $6)' };
/** What has locked a channel answers with nothing, as its lock lasts until the answer is taken. */
const LOOK: Statement = {
  name: 'look',
  text: 'SELECT (tidings.look($1, $2, $3, $4)).key IS NULL AS "isUnused"',
};
const MEND: Statement = { name: 'mend', text: 'SELECT tidings.mend($1)' };
const TOPS: Statement = {
  name: 'tops',
  text: 'SELECT name, epoch, number, id FROM tidings.channel WHERE name = ANY ($1)',
};
const OPENING: Statement = { name: 'opening', text: 'SELECT * FROM tidings.opening($1, $2, $3, $4)' };

/** Channels that are asked for in one statement. */
const TOPS_AT_ONCE = 1000;
/** Attempts to read what others change all the time. */
const ATTEMPTS = 10;

interface Row {
  kind: string;
  epoch: string;
  number: number;
  id: string;
  stored: number;
  expires: number | null;
  trace: string | null;
  payload: Buffer;
}

interface Found {
  epoch: string;
  number: number;
  id: string;
  marked: string | null;
  cursors: [device: string, epoch: string, offset: number, id: string][];
}

interface OpeningPart extends Part {
  channel: string;
}

export class PostgresReader {
  readonly #channels: PostgresChannels;
  readonly #watch: RewindWatch;
  readonly #marks: PostgresMarks;
  readonly #openings = new JoinedCalls<OpeningPart, Found>((parts) => this.#open(parts));

  constructor(channels: PostgresChannels, watch: RewindWatch, marks: PostgresMarks) {
    this.#channels = channels;
    this.#watch = watch;
    this.#marks = marks;
  }

  /** As Broker.read. */
  read(channel: string, offset: number, limit: number): Promise<LogPage> {
    return this.#channels.about('read', channel, this.page(channel, offset, limit));
  }

  /** As `read`, without judging what went wrong. */
  async page(channel: string, offset: number, limit: number): Promise<LogPage> {
    const { link, idleTtl } = this.#channels;
    const name = toText(channel);
    for (let attempt = 1; ; attempt++) {
      const known = encodeKnown(this.#watch.knownOf(channel));
      const most = Math.min(limit, Number.MAX_SAFE_INTEGER);
      const rows = await link.query<Row>(READ, [name, offset, most, PAGE_BYTES, known, idleTtl]);
      const [top, ...entries] = rows;
      if (top!.kind === 'T') {
        const page = pageOf(channel, offset, limit, top!, entries);
        if (page !== undefined) {
          this.#watch.learned(channel, page.top);
          return page;
        }
        // Something was trimmed in between; where nothing was, somebody else has removed something.
        if (attempt > 2) await link.query(MEND, [name]);
      }
      if (attempt >= ATTEMPTS)
        throw new PostgresReplyError(
          '40001',
          `the log of ${JSON.stringify(channel)} changes while it is read`,
        );
      await this.#channels.locking(LOOK, [name, known, idleTtl]);
    }
  }

  /** Gives a channel another epoch if its log lacks what is known of it. */
  async compare(channel: string, known: Position): Promise<void> {
    await this.#channels.locking(LOOK, [toText(channel), encodeKnown(known), this.#channels.idleTtl]);
  }

  /** As Broker.tops. */
  async tops(channels: string[]): Promise<(Position | Error)[]> {
    const found = new Map<string, Position>();
    for (let i = 0; i < channels.length; i += TOPS_AT_ONCE) {
      const names = channels.slice(i, i + TOPS_AT_ONCE).map(toText);
      const asked = this.#channels.link.query<Row & { name: string }>(TOPS, [names]);
      const rows = await this.#channels.about('top', channels[i]!, asked);
      for (const { name, epoch, number, id } of rows)
        found.set(fromText(name), { epoch, offset: number, id });
    }
    return Promise.all(
      channels.map(async (channel) => {
        const known = this.#watch.knownOf(channel);
        const top = found.get(channel);
        if (top === undefined && known === undefined) return { epoch: '', offset: 0, id: '' };
        if (top === undefined || hasRewound(known, top)) return (await this.read(channel, 0, 0)).top;
        this.#watch.learned(channel, top);
        return top;
      }),
    );
  }

  /** As Broker.opening. */
  opening(channel: string): Promise<Opening> {
    return this.#channels.about('top', channel, this.#find(channel));
  }

  async #find(channel: string): Promise<Opening> {
    const found = await this.#openings.add(undefined, { channel, count: 1, bytes: 0 });
    const cursors = found.cursors.map(
      ([device, epoch, offset, id]): Cursor => ({
        channel,
        device: fromText(device),
        position: { epoch, offset, id },
      }),
    );
    if (found.marked === '') {
      const top = { epoch: found.epoch, offset: 0, id: '' };
      return { top, cursors, marked: { marks: NO_MARKS, top, first: 1, most: ANY_NUMBER } };
    }
    const marked = found.marked === null ? undefined : decodeMarked(found.marked);
    if (marked !== undefined) {
      this.#watch.learned(channel, positionOf(marked.top));
      this.#watch.learnedVersion(channel, marked.marks.version);
      return { top: marked.top, cursors, marked };
    }
    // Where the marks are damaged, the channel can be read.
    const looked = await this.#marks.look(channel).catch(() => undefined);
    return { top: looked?.top ?? (await this.page(channel, 0, 0)).top, cursors, marked: looked };
  }

  async #open(parts: OpeningPart[]): Promise<Found[]> {
    const rows = await this.#channels.link.query<Found & { place: number }>(OPENING, [
      parts.map(({ channel }) => toText(channel)),
      parts.map(({ channel }) => encodeKnown(this.#watch.knownOf(channel))),
      parts.map(({ channel }) => encodeKnown(this.#watch.versionOf(channel))),
      this.#channels.idleTtl,
    ]);
    const found: Found[] = new Array(parts.length);
    for (const row of rows) found[row.place - 1] = row;
    return found;
  }
}

/** `undefined` where something of it is not there. */
function pageOf(
  channel: string,
  offset: number,
  limit: number,
  top: Row,
  entries: Row[],
): LogPage | undefined {
  const { epoch, number, id, stored: now } = top;
  const first = top.expires!;
  const next = Math.max(offset + 1, first);
  if (limit > 0 && next <= number && entries.length === 0) return undefined;
  if (entries.some((entry, i) => entry.number !== next + i)) return undefined;
  const messages = entries.map(
    ({ kind, number, id, stored: time, expires, trace, payload }): StoredMessage => {
      const own = kindOf(kind);
      if (own === undefined)
        throw new PostgresReplyError(
          '22000',
          `a message of the kind ${JSON.stringify(kind)}, which may be a newer version's`,
        );
      if (own === 'gone' || (expires !== null && expires <= now)) {
        return { channel, epoch, offset: number, id, time, kind: 'gone', payload: Buffer.alloc(0) };
      }
      const message: StoredMessage = { channel, epoch, offset: number, id, time, kind: own, payload };
      if (expires !== null) message.expires = expires;
      if (trace !== null) message.trace = trace;
      return message;
    },
  );
  return { messages, top: { epoch, offset: number, id }, first };
}

/** The cursors of a channel's devices in PostgreSQL: what each of them has acknowledged (sql/cursor.sql). */
import type { Statement } from '../postgres/link.ts';
import { fromText, toText } from '../postgres/text.ts';
import { bounded, LONGEST, MAX_DEVICES } from './bounds.ts';
import type { Cursor } from './broker.ts';
import type { PostgresChannels } from './postgres-channels.ts';

const ACKNOWLEDGE: Statement = {
  name: 'acknowledge',
  text: 'SELECT tidings.acknowledge($1, $2, $3, $4, $5, $6, $7)',
};
const CURSORS: Statement = {
  name: 'cursors',
  text: 'SELECT tidings.cursors(key) AS cursors FROM tidings.channel WHERE name = $1',
};

/** Cursors in one call. */
const AT_ONCE = 256;

export class PostgresDevices {
  readonly #channels: PostgresChannels;

  constructor(channels: PostgresChannels) {
    this.#channels = channels;
  }

  /** As Broker.acknowledgeAll. */
  acknowledgeAll(
    cursors: readonly Cursor[],
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): void {
    for (let i = 0; i < cursors.length; i += AT_ONCE)
      void this.#move(cursors.slice(i, i + AT_ONCE), i, ttl, done);
  }

  async #move(
    cursors: readonly Cursor[],
    start: number,
    ttl: number,
    done: (index: number, error: unknown) => void,
  ): Promise<void> {
    let failure: unknown;
    try {
      await this.#channels.link.query(ACKNOWLEDGE, [
        cursors.map(({ channel }) => toText(channel)),
        cursors.map(({ device }) => toText(device)),
        cursors.map(({ position }) => toText(position.epoch)),
        cursors.map(({ position }) => (Number.isSafeInteger(position.offset) ? position.offset : 0)),
        cursors.map(({ position }) => toText(position.id)),
        bounded(ttl, LONGEST),
        MAX_DEVICES,
      ]);
    } catch (error) {
      failure = error;
    }
    for (const [i, { channel }] of cursors.entries())
      done(start + i, this.#channels.outcome('acknowledge', channel, failure));
  }

  /** As Broker.cursors. */
  async cursors(channel: string): Promise<Cursor[]> {
    const asked = this.#channels.link.query<{ cursors: [string, string, number, string][] }>(CURSORS, [
      toText(channel),
    ]);
    const [row] = await this.#channels.about('cursors', channel, asked);
    return (row?.cursors ?? []).map(([device, epoch, offset, id]) => ({
      channel,
      device: fromText(device),
      position: { epoch, offset, id },
    }));
  }
}

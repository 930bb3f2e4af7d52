/** What all parts of the PostgreSQL broker know of its channels, and what it means for one of them when PostgreSQL refuses. */
import { Turns } from '../../waiting.ts';
import {
  isForbiddenByPostgres,
  PostgresError,
  PostgresReplyError,
  wasNotExecutedByPostgres,
} from '../postgres/errors.ts';
import type { PostgresLink, Statement } from '../postgres/link.ts';
import { DamagedChannelError, type Position } from './broker.ts';
import { Channels } from './channels.ts';
import type { Failures } from './failures.ts';
import type { Faults } from './faults.ts';

const FAILURES: Failures = {
  full: (held) =>
    new PostgresError('POSTGRES_QUEUE_FULL', `too much waits for PostgreSQL (${held}); nothing was sent`),
  late: (what, cause) => new PostgresError('POSTGRES_UNAVAILABLE', what, { cause }),
  wasNotExecuted: wasNotExecutedByPostgres,
  isUnknown: (error) => error instanceof PostgresError && error.code === 'POSTGRES_OUTCOME_UNKNOWN',
  mayPass: (error) =>
    wasNotExecutedByPostgres(error) || (error instanceof PostgresError && error.code !== 'POSTGRES_REPLY'),
  isForbidden: isForbiddenByPostgres,
};

/** How long a statement waits for who has locked a channel: the first time, and in its turn. */
const PATIENCE = { first: '50ms', inTurn: '2s' };
const LOCKED = '55P03';

export class PostgresChannels extends Channels {
  override readonly failures = FAILURES;
  readonly link: PostgresLink;
  /** Of those who wait for a channel that others have locked: they must not take all connections. */
  readonly waiters: Turns;

  /** @param connections that the link has at most */
  constructor(link: PostgresLink, idleTtl: number, faults: Faults, connections: number) {
    super(idleTtl, faults);
    this.link = link;
    this.waiters = new Turns(Math.max(1, Math.floor(connections / 2)));
  }

  /** What locks a channel. @param statement whose last value, which is added here, is how long it waits for that */
  async locking<Row extends object>(statement: Statement, values: readonly unknown[]): Promise<Row[]> {
    try {
      return await this.link.query<Row>(statement, [...values, PATIENCE.first]);
    } catch (error) {
      if (!(error instanceof PostgresReplyError) || error.sqlstate !== LOCKED) throw error;
      return this.waiters.run(() => this.link.query<Row>(statement, [...values, PATIENCE.inTurn]));
    }
  }

  override blame(what: string, channel: string, error: unknown): unknown {
    if (!(error instanceof PostgresReplyError) || wasNotExecutedByPostgres(error)) return error;
    const { reply, sqlstate } = error;
    if (DAMAGE.some((start) => sqlstate.startsWith(start))) {
      const why = `${reply} (${sqlstate}); see its rows in the schema ${this.link.schema}`;
      const damaged = new DamagedChannelError(channel, why, { cause: error });
      this.faults.met(`${what} ${channel}`, damaged.message, {
        event: 'channel-damaged',
        channel,
        error: why,
      });
      return damaged;
    }
    const verb = isForbiddenByPostgres(error) ? 'forbids' : 'refuses';
    this.faults.met(`refused ${what}`, `PostgreSQL ${verb} what is needed to ${what}: ${error.message}`, {
      event: 'postgres-refuses',
      what,
      error: error.message,
    });
    return error;
  }
}

/** Classes of SQLSTATE that are about what is kept: data, integrity, corruption. */
const DAMAGE = ['22', '23', 'XX'];

/** A position as SQL is told that it is known; '' for none. */
export function encodeKnown(position: Position | undefined): string {
  return position === undefined ? '' : `${position.epoch} ${position.offset} ${position.id}`;
}

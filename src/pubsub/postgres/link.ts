/**
 * The link to PostgreSQL: prepared statements on pooled connections, and what is rung on the one channel on which all
 * instances listen.
 */
import { afterReading, retry } from '../../waiting.ts';
import type { Connection } from './connection.ts';
import { PostgresError, PostgresReplyError } from './errors.ts';
import { Listener, quoted, SAY } from './listener.ts';
import type { PostgresSettings } from './options.ts';
import { Pool } from './pool.ts';

/** A statement of ours. */
export interface Statement {
  /** Unique: it is prepared under this name on each connection. `undefined`: it is not prepared, and may be several ones. */
  readonly name: string | undefined;
  /** `tidings.` in it stands for the schema: names of ours are always written so. */
  readonly text: string;
}

export type Query = <Row extends object>(statement: Statement, values: readonly unknown[]) => Promise<Row[]>;

export interface LinkEvents {
  /** What was rung may have been missed until `whole`. */
  lost(error: Error): void;
  /** Everything that is rung from now on is heard; where there is no schema yet, from `tune` on. */
  whole(): void;
}

/** Milliseconds that what is urgent waits for a connection, and for one to be made. */
const URGENT = { connections: 2, queueMaxWait: 1_500, connectTimeout: 3_000 };
/** No schema, table or column of that name, or not for this role. */
const NO_SCHEMA = ['3F000', '42P01', '42703', '42501'];
const ATTEMPTS = { min: 10, max: 200, maxWait: 5_000 };

export class PostgresLink {
  /** For messages: `127.0.0.1:5432/database`. */
  readonly address: string;
  readonly schema: string;
  readonly #pool: Pool;
  readonly #urgent: Pool;
  readonly #listener: Listener;
  readonly #hearers = new Map<string, (rest: string) => void>();
  /** By name. */
  readonly #texts = new Map<string, string>();
  #events: LinkEvents | undefined;
  #isClosed = false;

  constructor(settings: PostgresSettings, schema: string) {
    this.address = settings.address;
    this.schema = schema;
    const made = ({ server }: Connection): void => this.#reached(server);
    this.#pool = new Pool(settings, made);
    const connectTimeout = Math.min(URGENT.connectTimeout, settings.connectTimeout);
    this.#urgent = new Pool({ ...settings, ...URGENT, connectTimeout }, made);
    this.#listener = new Listener(settings, schema, {
      heard: (payload) => this.#heard(payload),
      channel: () => this.#channel(settings.probeTimeout),
      say: (channel, payload) =>
        this.urgent({ name: undefined, text: SAY }, [channel, payload], settings.probeTimeout),
      ring: inSchema('SELECT tidings.ring($1)', schema),
      lost: (error) => {
        // The one that listens comes before all others, which may be what keeps it out.
        if ((error.cause as { code?: unknown } | undefined)?.code === '53300') {
          this.#pool.yield();
          this.#urgent.yield();
        }
        this.#events!.lost(error);
      },
      listening: (server) => {
        this.#pool.keepOnly(server);
        this.#urgent.keepOnly(server);
        this.#events!.whole();
      },
    });
  }

  open(events: LinkEvents): void {
    this.#events = events;
    this.#listener.open();
  }

  /**
   * What is rung with this first word, in the order of commits, without the word and the space behind it. One hearer for
   * a word. It must not throw.
   */
  hear(word: string, hearer: (rest: string) => void): void {
    this.#hearers.set(word, hearer);
  }

  /** One statement, committed by itself. */
  readonly query: Query = async <Row extends object>(statement: Statement, values: readonly unknown[]) =>
    this.#with(this.#pool, (connection) => this.#ask<Row>(connection, statement, values));

  /**
   * As `query`, over connections that nothing else uses: what must not wait behind others, such as those who wait for a row
   * that somebody has locked.
   *
   * @param milliseconds for the answer, before the connection is given up
   */
  urgent<Row extends object>(
    statement: Statement,
    values: readonly unknown[],
    milliseconds: number,
  ): Promise<Row[]> {
    return this.#with(this.#urgent, async (connection) => {
      const late = new Error(`no answer within ${milliseconds} ms`);
      const callOff = afterReading(milliseconds, () => connection.destroy(late));
      try {
        return await this.#ask<Row>(connection, statement, values);
      } finally {
        callOff();
      }
    });
  }

  /**
   * What `work` asks on one connection, between BEGIN and COMMIT. It is done again as a whole where others were in the way.
   *
   * @throws {PostgresError} what a statement throws; with code `POSTGRES_OUTCOME_UNKNOWN` where COMMIT was lost
   */
  transaction<Result>(work: (query: Query) => Promise<Result>): Promise<Result> {
    return retry(() => this.#with(this.#pool, (connection) => this.#transact(connection, work)), {
      ...ATTEMPTS,
      mayRepeat: (error) =>
        error instanceof PostgresReplyError && ['40001', '40P01'].includes(error.sqlstate) && !this.#isClosed,
    });
  }

  /** Whether what is rung is heard: not yet where there was no schema. */
  get isTuned(): boolean {
    return this.#listener.isTuned;
  }

  /** Once there is a schema: from now on everything that is rung is heard. */
  tune(): Promise<void> {
    return this.#listener.tune();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([this.#listener.close(), this.#pool.close(), this.#urgent.close()]);
  }

  async #with<Result>(pool: Pool, work: (connection: Connection) => Promise<Result>): Promise<Result> {
    const connection = await pool.take();
    try {
      return await work(connection);
    } catch (error) {
      // It has become a standby: whoever is the primary now is found by connecting anew.
      const isStandby = error instanceof PostgresReplyError && error.sqlstate === '25006';
      if (isStandby) {
        connection.destroy(error);
        this.#listener.renew('the server can only be read');
      }
      throw error;
    } finally {
      pool.give(connection);
    }
  }

  #ask<Row extends object>(
    connection: Connection,
    statement: Statement,
    values: readonly unknown[],
  ): Promise<Row[]> {
    if (connection.isPooled) return this.#transact(connection, (query) => query<Row>(statement, values));
    return connection.query<Row>(statement.name, this.#textOf(statement), values);
  }

  async #transact<Result>(connection: Connection, work: (query: Query) => Promise<Result>): Promise<Result> {
    let result: Result;
    try {
      await connection.query(undefined, connection.begin);
      result = await work((statement, values) =>
        connection.query(statement.name, this.#textOf(statement), values),
      );
    } catch (error) {
      // What is lost before COMMIT is rolled back.
      if (error instanceof PostgresError && error.code === 'POSTGRES_OUTCOME_UNKNOWN') {
        throw new PostgresError(
          'POSTGRES_UNAVAILABLE',
          `PostgreSQL at ${this.address} was lost in a transaction, which was rolled back`,
          { cause: error },
        );
      }
      await connection.query(undefined, 'ROLLBACK').catch((failure: Error) => connection.destroy(failure));
      throw error;
    }
    await connection.query(undefined, 'COMMIT');
    return result;
  }

  #textOf({ name, text }: Statement): string {
    let known = name === undefined ? undefined : this.#texts.get(name);
    if (known === undefined) {
      known = inSchema(text, this.schema);
      if (name !== undefined) this.#texts.set(name, known);
    }
    return known;
  }

  /** What the schema is rung on; `undefined` where there is none yet, or none for this role: `migrate` says so. */
  async #channel(milliseconds: number): Promise<string | undefined> {
    const text = 'SELECT bell FROM tidings.store';
    try {
      const [row] = await this.urgent<{ bell: string }>({ name: undefined, text }, [], milliseconds);
      return row?.bell;
    } catch (error) {
      if (error instanceof PostgresReplyError && NO_SCHEMA.includes(error.sqlstate)) return undefined;
      throw error;
    }
  }

  /** A new connection leads to this server. */
  #reached(server: string): void {
    const { server: listensTo } = this.#listener;
    if (this.#isClosed || listensTo === undefined || listensTo === server) return;
    this.#listener.renew('new connections lead to another server');
  }

  #heard(payload: string): void {
    const space = payload.indexOf(' ');
    const word = space === -1 ? payload : payload.slice(0, space);
    this.#hearers.get(word)?.(space === -1 ? '' : payload.slice(space + 1));
  }
}

/** SQL for this schema, of SQL in which it is called `tidings`. What is quoted, such as a setting's name, stays. */
export function inSchema(text: string, schema: string): string {
  const name = `${quoted(schema)}.`;
  const literal = `'${schema.replaceAll("'", "''")}'`;
  return text.replace(/(?<!['"\w])tidings\./g, () => name).replaceAll("'tidings'", () => literal);
}

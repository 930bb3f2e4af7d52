/** An outbox table in PostgreSQL, by the package `pg`. */
import { readBeside } from '../../beside.ts';
import { resolvePostgresOptions } from '../../pubsub/postgres/options.ts';
import { guard, type PgConnection } from '../../pubsub/postgres/pg.ts';
import { within } from '../../waiting.ts';
import { SourceSetupError } from '../driver.ts';
import { loadPackage } from '../packages.ts';
import { lockKey } from './lock-key.ts';
import {
  type Listed,
  listedOf,
  listStatement,
  noTable,
  quoted,
  type Row,
  rowOf,
  type TableConnection,
  type TablePlace,
} from './outbox.ts';
import { named, tablesIn } from './tables.ts';

/** What inserts are told on. */
const CHANNEL = 'tidings_source';
/** Milliseconds. */
const CONNECT_TIMEOUT = 10_000;
/** For a statement, at the server; and for its answer here. */
const STATEMENT_TIMEOUT = 30_000;
const ANSWER_TIMEOUT = 35_000;
const LOCK_TIMEOUT = 200;
/** After which the server ends a connection that stands still, so that others get its locks. */
const IDLE_TIMEOUT = 20_000;
const GOODBYE = 1_000;

interface Result {
  rows: Record<string, unknown>[];
}

/** As much of a client of `pg` as is used here. */
interface PgClient {
  readonly processID: number | null;
  readonly connection: PgConnection;
  connect(): Promise<void>;
  query(text: string, values?: unknown[]): Promise<Result>;
  end(): Promise<void>;
  on(event: 'error' | 'end' | 'notification', listener: (argument: unknown) => void): void;
}

interface Pg {
  Client: new (config: object) => PgClient;
}

export const postgresTables = tablesIn({
  kind: 'postgres',
  schemes: ['postgres', 'postgresql'],
  at(place) {
    const { address, servers } = resolvePostgresOptions(place.url);
    return { address, connect: () => connect(servers, place) };
  },
});

/** What makes the tables. */
export function postgresTableSql(table: string, dead: string): string {
  const sql = readBeside(new URL('outbox-postgres.sql', import.meta.url)).toString();
  return named(sql, table, dead, '"');
}

/** To the first of the servers that can be written to. @throws what the last one says */
async function connect(servers: readonly object[], place: TablePlace): Promise<PostgresConnection> {
  const { Client } = await loadPackage<Pg>(
    'pg',
    'a table in PostgreSQL',
    (module) => typeof module.Client === 'function',
  );
  let failure: unknown;
  for (const server of servers) {
    const client = new Client({
      ...server,
      application_name: 'tidings source',
      connectionTimeoutMillis: CONNECT_TIMEOUT,
      query_timeout: ANSWER_TIMEOUT,
      keepAlive: true,
      keepAliveInitialDelayMillis: IDLE_TIMEOUT,
    });
    guard(client);
    try {
      return await PostgresConnection.make(client, place);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

const ABOUT = `SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby,
  to_regclass($1)::oid::text AS oid, to_regclass($2)::oid::text AS dead,
  has_table_privilege(to_regclass($1), 'SELECT') AND has_table_privilege(to_regclass($1), 'DELETE')
    AND has_table_privilege(to_regclass($1), 'UPDATE') AND has_table_privilege(to_regclass($2), 'INSERT') AS allowed,
  (SELECT atttypid = 'bytea'::regtype FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'data') AS bytes,
  EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal AND tgenabled <> 'D'
    AND tgfoid IN (SELECT oid FROM pg_proc WHERE prosrc LIKE '%${CHANNEL}%')) AS told,
  current_setting('server_version_num')::int AS version`;

class PostgresConnection implements TableConnection {
  onWake: () => void = () => {};
  readonly isWoken: boolean;
  readonly #client: PgClient;
  readonly #oid: string;
  readonly #pid: unknown;
  readonly #table: string;
  readonly #read: string;
  readonly #bury: string;
  #error: Error | undefined;

  private constructor(client: PgClient, place: TablePlace, about: Record<string, unknown>) {
    this.#client = client;
    this.#oid = String(about['oid']);
    this.#pid = about['pid'];
    this.isWoken = about['told'] === true;
    this.#table = quoted(place.table, '"');
    this.#read = readStatement(this.#table, about['bytes'] === true);
    this.#bury = buryStatement(this.#table, quoted(place.dead, '"'));
  }

  /**
   * Connects, and looks whether the table is there and what this login may do.
   *
   * @throws {SourceSetupError} where somebody has to change something
   */
  static async make(client: PgClient, place: TablePlace): Promise<PostgresConnection> {
    // Also where it is lost at once.
    client.on('error', () => {});
    try {
      await client.connect();
      const names = [place.table, place.dead].map((name) => quoted(name, '"'));
      const { rows } = await client.query(ABOUT, names);
      const about = rows[0]!;
      check(about, place, client.processID);
      const connection = new PostgresConnection(client, place, about);
      await connection.#open(about['version'] as number);
      return connection;
    } catch (error) {
      client.connection.stream.destroy();
      throw setupError(error) ?? error;
    }
  }

  async #open(version: number): Promise<void> {
    this.#client.on('error', (error) => this.#lost(error as Error));
    this.#client.on('end', () => this.#lost(new Error('PostgreSQL has ended the connection')));
    this.#client.on('notification', () => this.onWake());
    const settings = {
      statement_timeout: STATEMENT_TIMEOUT,
      lock_timeout: LOCK_TIMEOUT,
      // Older versions have nothing for that.
      ...(version >= 140_000 && { idle_session_timeout: IDLE_TIMEOUT }),
      // What is removed and comes back after a crash is known to be stored.
      synchronous_commit: 'off',
      default_transaction_isolation: "'read committed'",
    };
    for (const [name, value] of Object.entries(settings)) await this.#client.query(`SET ${name} = ${value}`);
    await this.#client.query(`LISTEN ${CHANNEL}`);
    // Are all columns there?
    await this.list([0], 1);
    await this.read([], 1, 1);
    await this.#client.query(`${this.#bury.replace('$1', '-1').replace('$2', "''")}`);
  }

  #lost(error: Error): void {
    this.#error ??= error;
    this.onWake();
  }

  async #query(text: string, values?: unknown[]): Promise<Result> {
    if (this.#error !== undefined) throw this.#error;
    return this.#client.query(text, values);
  }

  async list(shares: readonly number[], most: number): Promise<{ rows: Listed[]; isBarred: boolean }> {
    const { rows } = await this.#query(listStatement(this.#table, shares, most));
    return listedOf(rows);
  }

  async read(ids: readonly string[], bytes: number, maxBody: number): Promise<Row[]> {
    const { rows } = await this.#query(this.#read, [ids, bytes, maxBody]);
    if (rows.some((row) => row['pid'] !== this.#pid)) throw new Error(POOLER);
    return rows.map(rowOf);
  }

  async remove(ids: readonly string[]): Promise<void> {
    await this.#query(`DELETE FROM ${this.#table} WHERE id = ANY($1::bigint[])`, [ids]);
  }

  async removeFree(ids: readonly string[]): Promise<string[]> {
    const { rows } = await this.#query(
      `WITH free AS (SELECT id FROM ${this.#table} WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)
        DELETE FROM ${this.#table} WHERE id IN (SELECT id FROM free) RETURNING id::text AS id`,
      [ids],
    );
    const removed = new Set(rows.map(({ id }) => id));
    const others = await this.#query(
      `SELECT id::text AS id FROM ${this.#table} WHERE id = ANY($1::bigint[])`,
      [ids.filter((id) => !removed.has(id))],
    );
    return others.rows.map(({ id }) => String(id));
  }

  async bury(id: string, reason: string): Promise<void> {
    await this.#query(this.#bury, [id, reason]);
  }

  async lock(names: readonly string[]): Promise<string[]> {
    const got: string[] = [];
    const keys = names.map((name) => this.#key(name));
    const { rows } = await this.#query(
      'SELECT pg_try_advisory_lock(key) AS got FROM unnest($1::bigint[]) WITH ORDINALITY AS k (key, place) ORDER BY place',
      [keys],
    );
    for (const [i, row] of rows.entries()) if (row['got'] === true) got.push(names[i]!);
    return got;
  }

  async unlock(names: readonly string[]): Promise<void> {
    const keys = names.map((name) => this.#key(name));
    await this.#query('SELECT pg_advisory_unlock(key) FROM unnest($1::bigint[]) AS key', [keys]);
    // Somebody waits for them.
    await this.#query(`NOTIFY ${CHANNEL}`);
  }

  async countLocked(names: readonly string[]): Promise<number> {
    const keys = names.map((name) => this.#key(name));
    const { rows } = await this.#query(
      `SELECT count(DISTINCT (classid, objid))::int AS count FROM pg_locks
        WHERE locktype = 'advisory' AND objsubid = 1 AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (classid::bigint << 32) | objid::bigint = ANY($1::bigint[])`,
      [keys],
    );
    return Number(rows[0]!['count']);
  }

  #key(name: string): string {
    return lockKey(`tidings outbox ${this.#oid} ${name}`).toString();
  }

  async ping(): Promise<void> {
    await this.#query('SELECT 1');
  }

  isPassing(error: unknown): boolean {
    // Serialization failure, deadlock, a lock that was not to be had.
    return ['40001', '40P01', '55P03'].includes((error as { code?: string }).code ?? '');
  }

  async close(): Promise<void> {
    if (this.#error === undefined) {
      const said = this.#client
        .query('SELECT pg_advisory_unlock_all()')
        .then(() => this.#client.query(`NOTIFY ${CHANNEL}`))
        .then(() => this.#client.end());
      await within(GOODBYE, said);
    }
    this.#client.connection.stream.destroy();
  }
}

const POOLER =
  'there is something between tidings and PostgreSQL that shares connections, such as PgBouncer, and can carry neither locks nor LISTEN: give the address of the server itself';

/** @throws {Error} where it may be otherwise later, {SourceSetupError} where that can't be */
function check(about: Record<string, unknown>, { table, dead }: TablePlace, processId: number | null): void {
  if (about['pid'] !== processId) throw new SourceSetupError(POOLER);
  if (about['standby'] === true) {
    throw new Error('it is a standby, in which nothing can be removed: give the address of the primary');
  }
  if (about['oid'] === null) noTable(table, 'postgres');
  if (about['dead'] === null) noTable(dead, 'postgres');
  if (about['allowed'] !== true) {
    throw new SourceSetupError(
      `this login needs SELECT, UPDATE and DELETE on ${table}, and INSERT on ${dead}: GRANT them`,
    );
  }
}

/** Of what PostgreSQL says: no such column, no such table, not allowed, no such database, a wrong password. */
function setupError(error: unknown): SourceSetupError | undefined {
  const { code, message } = error as { code?: string; message: string };
  const isForever = ['42703', '42P01', '42501', '3D000', '28P01', '28000', '3F000'].includes(code ?? '');
  return isForever ? new SourceSetupError(message, { cause: error }) : undefined;
}

function readStatement(table: string, isBytes: boolean): string {
  const data = isBytes ? 'data' : "convert_to(data::text, 'UTF8')";
  return `SELECT id::text AS id, uid::text AS uid, left(user_name, 300) AS "userName", left(topic, 300) AS topic,
    CASE WHEN size <= $3::bigint THEN settings::text END AS settings,
    CASE WHEN size <= $3::bigint THEN body END AS data, size, time, pg_backend_pid() AS pid
  FROM (
    SELECT *, sum(least(size, $3::bigint)) OVER (ORDER BY id) - least(size, $3::bigint) AS before
    FROM (
      SELECT id, uid, user_name, topic, settings, body,
        coalesce(octet_length(body), 0) + coalesce(octet_length(settings::text), 0) AS size,
        extract(epoch FROM created)::float8 * 1000 AS time
      FROM ${table}, LATERAL (SELECT ${data} AS body OFFSET 0) AS read
      WHERE id = ANY($1::bigint[])
    ) AS sized
  ) AS summed
  WHERE before < $2::bigint ORDER BY summed.id`;
}

function buryStatement(table: string, dead: string): string {
  const columns = 'id, uid, user_name, topic, data, settings, created';
  return `WITH gone AS (DELETE FROM ${table} WHERE id = $1 RETURNING ${columns})
    INSERT INTO ${dead} (${columns}, reason)
      SELECT id, coalesce(uid::text, 'row ' || id), user_name, topic, data, settings, created, $2 FROM gone`;
}

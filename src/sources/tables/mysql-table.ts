/** An outbox table in MySQL or MariaDB, by the package `mysql2`. */
import { readBeside } from '../../beside.ts';
import { inTime, TimeoutError, within } from '../../waiting.ts';
import { SourceSetupError } from '../driver.ts';
import { loadPackage } from '../packages.ts';
import { unreadable, urlOf } from '../place.ts';
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

/** Milliseconds. */
const CONNECT_TIMEOUT = 10_000;
const ANSWER_TIMEOUT = 35_000;
const GOODBYE = 1_000;
/** Seconds after which the server ends a connection that stands still, so that others get its locks. */
const IDLE_TIMEOUT = 20;

type Cells = Record<string, string | Buffer | null>;

interface Field {
  readonly name: string;
  string(): string | null;
  buffer(): Buffer | null;
}

/** As much of a connection of `mysql2` as is used here. */
interface MysqlConnection {
  connect(done: (error: Error | null) => void): void;
  query(sql: string, done: (error: Error | null, rows: unknown) => void): void;
  execute(sql: string, values: unknown[], done: (error: Error | null, rows: unknown) => void): void;
  end(done: (error?: Error) => void): void;
  destroy(): void;
  on(event: 'error' | 'end', listener: (error?: Error) => void): void;
}

interface Mysql {
  createConnection(options: object): MysqlConnection;
}

export const mysqlTables = tablesIn({
  kind: 'mysql',
  schemes: ['mysql', 'mariadb'],
  at(given) {
    const place = { ...given, url: given.url.replace(/^mariadb:/i, 'mysql:') };
    return { address: addressOf(place.url), connect: () => connect(place) };
  },
});

/** What makes the tables. */
export function mysqlTableSql(table: string, dead: string): string {
  const sql = readBeside(new URL('outbox-mysql.sql', import.meta.url)).toString();
  return named(sql, table, dead, '`');
}

async function connect(place: TablePlace): Promise<OutboxConnection> {
  const mysql = await loadPackage<Mysql>(
    'mysql2',
    'a table in MySQL or MariaDB',
    (module) => typeof module.createConnection === 'function',
  );
  return OutboxConnection.make(mysql, place);
}

/** @throws {TypeError} for what is none, without repeating it */
function addressOf(url: string): string {
  const form =
    'mysql://user:password@host:port/database, with /, ?, #, @ and % of a password as %2F, %3F, %23, %40 and %25';
  const { username, hostname, port, pathname, searchParams } = urlOf(url, form);
  // Without a user before the @, what would be shown may be a password.
  if (username === '' && url.split('?')[0]!.includes('@')) throw unreadable(form);
  if (pathname.length < 2)
    throw new TypeError('the URL of the source must name the database: mysql://host/database');
  return `${searchParams.get('socketPath') ?? `${hostname || 'localhost'}:${port || 3306}`}${pathname}`;
}

class OutboxConnection implements TableConnection {
  onWake: () => void = () => {};
  readonly isWoken = false;
  readonly #connection: MysqlConnection;
  readonly #table: string;
  readonly #dead: string;
  readonly #place: TablePlace;
  #isChecked = false;
  #lockPrefix = '';
  #id = '';
  #error: Error | undefined;
  /** Of the statement that is under way. */
  #fail: ((error: Error) => void) | undefined;

  private constructor(connection: MysqlConnection, place: TablePlace) {
    this.#connection = connection;
    this.#place = place;
    this.#table = quoted(place.table, '`');
    this.#dead = quoted(place.dead, '`');
    connection.on('error', (error) => this.#lost(error ?? new Error('the connection has failed')));
    connection.on('end', () => this.#lost(new Error('the server has ended the connection')));
  }

  /**
   * Connects, and looks whether the table is there and what this login may do.
   *
   * @throws {SourceSetupError} where somebody has to change something
   */
  static async make(mysql: Mysql, place: TablePlace): Promise<OutboxConnection> {
    let made: MysqlConnection;
    try {
      made = mysql.createConnection({
        uri: place.url,
        charset: 'utf8mb4',
        connectTimeout: CONNECT_TIMEOUT,
        enableKeepAlive: true,
        multipleStatements: true,
        typeCast: (field: Field) => (field.name === 'data' ? field.buffer() : field.string()),
      });
    } catch (error) {
      throw new SourceSetupError(`mysql2 does not take the URL of the source: ${(error as Error).name}`);
    }
    const connection = new OutboxConnection(made, place);
    try {
      const connected = new Promise<void>((resolve, reject) =>
        made.connect((error) => (error === null || error === undefined ? resolve() : reject(error))),
      );
      // Some versions of mysql2 stop to count once the server has said something.
      await inTime(CONNECT_TIMEOUT, connected);
      await connection.#open();
      return connection;
    } catch (error) {
      made.destroy();
      throw setupError(error, place) ?? error;
    }
  }

  async #open(): Promise<void> {
    await this.#query(
      `SET SESSION autocommit = 1, wait_timeout = ${IDLE_TIMEOUT}, innodb_lock_wait_timeout = 1, lock_wait_timeout = 5, time_zone = '+00:00'`,
    );
    await this.#query('SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    const [about] = await this.#query(
      'SELECT CONNECTION_ID() AS id, DATABASE() AS name, @@GLOBAL.read_only AS read_only',
    );
    const [schema, name] = this.#place.table.includes('.')
      ? this.#place.table.split('.')
      : [about!['name'] as string, this.#place.table];
    if (about!['read_only'] !== '0') {
      throw new Error('it is read-only, so nothing can be removed: give the address of the primary');
    }
    this.#id = String(about!['id']);
    this.#lockPrefix = `${schema}.${name}`;
    // Are all columns there, and may all that be done?
    await this.list([0], 1);
    await this.read(['-1'], 1, 1);
    await this.remove(['-1']);
    await this.bury('-1', '');
    this.#isChecked = true;
  }

  #lost(error: Error): void {
    this.#error ??= error;
    this.#fail?.(error);
    this.onWake();
  }

  #query(sql: string): Promise<Cells[]> {
    return this.#ask((done) => this.#connection.query(sql, done));
  }

  /** One at a time. */
  async #ask(send: (done: (error: Error | null, rows: unknown) => void) => void): Promise<Cells[]> {
    if (this.#error !== undefined) throw this.#error;
    const answered = new Promise<Cells[]>((resolve, reject) => {
      // mysql2 answers nobody who waits when a connection is destroyed.
      this.#fail = reject;
      send((error, rows) => {
        if ((error as { fatal?: boolean } | null)?.fatal) this.#lost(error!);
        if (error) reject(error);
        else resolve(rows as Cells[]);
      });
    });
    try {
      return await inTime(ANSWER_TIMEOUT, answered);
    } catch (error) {
      // What comes now would be taken for the answer to the next one.
      if (error instanceof TimeoutError) {
        this.#connection.destroy();
        this.#lost(error);
      }
      throw error;
    } finally {
      this.#fail = undefined;
    }
  }

  async list(shares: readonly number[], most: number): Promise<{ rows: Listed[]; isBarred: boolean }> {
    // It is asked often, and mostly there is nothing.
    const some = await this.#query(`SELECT 1 AS n FROM ${this.#table} LIMIT 1`);
    if (some.length === 0 && this.#isChecked) return { rows: [], isBarred: false };
    const rows = await this.#query(listStatement(this.#table, shares, most));
    return listedOf(rows);
  }

  async read(ids: readonly string[], bytes: number, maxBody: number): Promise<Row[]> {
    const rows = await this.#query(readStatement(this.#table, idsOf(ids), bytes, maxBody));
    if (rows.some((row) => row['connection'] !== this.#id)) throw new Error(POOLER);
    return rows.map(rowOf);
  }

  async remove(ids: readonly string[]): Promise<void> {
    await this.#transaction(() => this.#query(this.#removal(ids)));
  }

  async removeFree(ids: readonly string[]): Promise<string[]> {
    const select = `SELECT id FROM ${this.#table} WHERE id IN (${idsOf(ids)})`;
    await this.#transaction(async () => {
      const free = await this.#query(`${select} FOR UPDATE SKIP LOCKED`);
      if (free.length > 0) await this.#query(this.#removal(free.map(({ id }) => String(id))));
    });
    return (await this.#query(select)).map(({ id }) => String(id));
  }

  /** One by one: for a list of them the server may look at all rows, and wait for those that others are writing. */
  #removal(ids: readonly string[]): string {
    return ids.map((id) => `DELETE FROM ${this.#table} WHERE id = ${idsOf([id])}`).join('; ');
  }

  async bury(id: string, reason: string): Promise<void> {
    const columns = 'id, uid, user_name, topic, data, settings, created';
    const text = `INSERT INTO ${this.#dead} (${columns}, reason)
      SELECT id, COALESCE(uid, CONCAT('row ', id)), user_name, topic, data, settings, created, ? FROM ${this.#table} WHERE id = ?`;
    await this.#transaction(async () => {
      // Prepared, as a quoted text depends on the server's mode.
      await this.#ask((done) => this.#connection.execute(text, [reason, idsOf([id])], done));
      await this.#query(this.#removal([id]));
    });
  }

  async #transaction(work: () => Promise<unknown>): Promise<void> {
    await this.#query('START TRANSACTION');
    try {
      await work();
      await this.#query('COMMIT');
    } catch (error) {
      if (this.#error === undefined) await this.#query('ROLLBACK');
      throw error;
    }
  }

  async lock(names: readonly string[]): Promise<string[]> {
    const rows = await this.#query(this.#each(names, (name) => `GET_LOCK(${name}, 0)`));
    return names.filter((_, i) => rows[0]![`n${i}`] === '1');
  }

  async unlock(names: readonly string[]): Promise<void> {
    await this.#query(this.#each(names, (name) => `RELEASE_LOCK(${name})`));
  }

  async countLocked(names: readonly string[]): Promise<number> {
    const rows = await this.#query(this.#each(names, (name) => `IS_USED_LOCK(${name})`));
    return Object.values(rows[0]!).filter((holder) => holder !== null).length;
  }

  #each(names: readonly string[], call: (name: string) => string): string {
    const parts = names.map((name, i) => {
      const key = BigInt.asUintN(64, lockKey(`tidings outbox ${this.#lockPrefix} ${name}`));
      return `${call(`'tidings.${key}'`)} AS n${i}`;
    });
    return `SELECT ${parts.join(', ')}`;
  }

  async ping(): Promise<void> {
    await this.#query('SELECT 1');
  }

  isPassing(error: unknown): boolean {
    // A lock that was not to be had, deadlock.
    return ['ER_LOCK_WAIT_TIMEOUT', 'ER_LOCK_DEADLOCK'].includes((error as { code?: string }).code ?? '');
  }

  async close(): Promise<void> {
    if (this.#error === undefined) {
      await within(GOODBYE, new Promise<void>((resolve) => this.#connection.end(() => resolve())));
    }
    this.#connection.destroy();
  }
}

const POOLER =
  'there is something between tidings and the server that shares connections, and can carry no locks: give the address of the server itself';

/** Decimal numbers, and nothing else. */
function idsOf(ids: readonly string[]): string {
  for (const id of ids) if (!/^-?\d+$/.test(id)) throw new Error('an id of the table is no whole number');
  return ids.join(', ');
}

function readStatement(table: string, ids: string, bytes: number, maxBody: number): string {
  const most = Math.floor(maxBody);
  return `SELECT id, uid, LEFT(user_name, 300) AS userName, LEFT(topic, 300) AS topic,
    CASE WHEN size <= ${most} THEN settings END AS settings, CASE WHEN size <= ${most} THEN data END AS data,
    size, time, CONNECTION_ID() AS connection
  FROM (
    SELECT sized.*, SUM(LEAST(size, ${most})) OVER (ORDER BY id) - LEAST(size, ${most}) AS earlier
    FROM (
      SELECT id, uid, user_name, topic, settings, data,
        COALESCE(LENGTH(data), 0) + COALESCE(LENGTH(settings), 0) AS size, UNIX_TIMESTAMP(created) * 1000 AS time
      FROM ${table} WHERE id IN (${ids})
    ) AS sized
  ) AS summed
  WHERE earlier < ${Math.floor(bytes)} ORDER BY id`;
}

/** Of what the server says: no such table, column or database, not allowed, a wrong password. */
function setupError(error: unknown, { table, dead }: TablePlace): SourceSetupError | undefined {
  const { code, message } = error as { code?: string; message: string };
  if (code === 'ER_NO_SUCH_TABLE') noTable(`${table} or ${dead}`, 'mysql');
  const isForever =
    /^ER_(?:BAD_FIELD_ERROR|BAD_DB_ERROR|ACCESS_DENIED_ERROR|DBACCESS_DENIED_ERROR|TABLEACCESS_DENIED_ERROR|COLUMNACCESS_DENIED_ERROR)$/.test(
      code ?? '',
    );
  return isForever ? new SourceSetupError(message, { cause: error }) : undefined;
}

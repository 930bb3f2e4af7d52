/** One connection to a PostgreSQL that can be written to, with one statement at a time. */
import { afterReading, within } from '../../waiting.ts';
import { PostgresError, PostgresReplyError } from './errors.ts';
import type { PostgresSettings } from './options.ts';
import { guard, loadPg, type Pg, type PgClient, type PgConfig } from './pg.ts';

/** What is asked of each new connection. */
interface Server {
  version: number;
  isStandby: boolean;
  isReadOnly: boolean;
  encoding: string;
  started: string;
}

const ABOUT = `current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS "isStandby",
  current_setting('default_transaction_read_only') = 'on' AS "isReadOnly", current_setting('server_encoding') AS encoding,
  extract(epoch FROM pg_postmaster_start_time())::text || ' ' || current_database() AS started`;

/**
 * Whatever a role or a database has for all of its sessions, ours have what they need. Names that are not ours are looked up
 * where nobody else can have put anything. Statements have a bound of their own; a session that is idle is one that listens,
 * or waits for work.
 *
 * A plan that is kept from when a partition was empty would read all of it once it is full: indexes are always used. What that
 * makes of the costs must not have each statement compiled.
 *
 * @param isLocal whether they end with the transaction
 */
function own({ statementTimeout }: PostgresSettings, isLocal: boolean): string {
  const values = {
    search_path: `'pg_catalog, pg_temp'`,
    statement_timeout: `'${Number(statementTimeout)}'`,
    idle_in_transaction_session_timeout: `'${Number(statementTimeout)}'`,
    lock_timeout: `'0'`,
    synchronous_commit: `replace(current_setting('synchronous_commit'), 'off', 'on')`,
    array_nulls: `'on'`,
    bytea_output: `'hex'`,
    extra_float_digits: `'1'`,
    enable_seqscan: `'off'`,
    jit: `'off'`,
  };
  return Object.entries(values)
    .map(([name, value]) => `set_config('${name}', ${value}, ${isLocal})`)
    .join(', ');
}

/** What else holds for a session that nobody shares. The last two are newer than the oldest server that is told so. */
const FOR_SESSION = `set_config('default_transaction_isolation', 'read committed', false),
  set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
  set_config('tcp_user_timeout', '20000', false),
  (SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('idle_session_timeout', 'transaction_timeout'))`;
const OLDEST = 140000;
/** Milliseconds that saying goodbye may take. */
const END_TIMEOUT = 500;

/** Of PostgreSQL's types: bigint, arrays of it, and xid8. */
const BIGINT = 20;
const BIGINTS = 1016;

export class Connection {
  /** Tells the server's process and its database from others: another one has been restarted, or is another server. */
  readonly server: string = '';
  readonly #client: PgClient;
  readonly #timeout: number;
  readonly #address: string;
  /** Whether it leads to another connection of the server with each transaction. */
  readonly isPooled: boolean;
  /** What a transaction begins with. */
  readonly begin: string;
  #running: { reject(error: Error): void; reply: PostgresReplyError | undefined } | undefined;
  #error: Error | undefined;
  /** Once, when it is over, whoever has ended it. */
  onEnd: (error: Error) => void = () => {};
  onNotification: (payload: string) => void = () => {};

  private constructor(client: PgClient, settings: PostgresSettings, isPooled: boolean) {
    this.#client = client;
    this.#timeout = settings.statementTimeout;
    this.#address = settings.address;
    this.isPooled = isPooled;
    const begin = 'BEGIN ISOLATION LEVEL READ COMMITTED';
    this.begin = isPooled ? `${begin}; SELECT ${own(settings, true)}` : begin;
    client.on('error', (error) => this.#over(error));
    client.on('end', () => this.#over(new Error('the connection ended')));
    // The server is ready again: what it has refused was rolled back.
    client.on('drain', () => {
      const running = this.#running;
      if (running?.reply === undefined) return;
      this.#running = undefined;
      running.reject(running.reply);
    });
    client.on('notification', ({ payload = '' }) => this.onNotification(payload));
  }

  /**
   * To the first of the servers that can be written to.
   *
   * @param isPooled whether it leads to another connection of the server with each transaction
   * @throws {PostgresError} with code `POSTGRES_CONNECTION`, or `POSTGRES_SCHEMA` where it is no server that can be used
   */
  static async make(
    settings: PostgresSettings,
    servers: readonly PgConfig[],
    isPooled: boolean,
  ): Promise<Connection> {
    const pg = await loadPg();
    let failure: PostgresError | undefined;
    for (const server of servers) {
      try {
        return await connect(pg, settings, server, (client) => new Connection(client, settings, isPooled));
      } catch (error) {
        if (!(error instanceof PostgresError)) throw error;
        // A standby among several is as it should be.
        if (failure === undefined || !error.message.includes(STANDBY)) failure = error;
      }
    }
    throw failure!;
  }

  get isOver(): boolean {
    return this.#error !== undefined;
  }

  /**
   * @param name to prepare it under; `undefined`: it is not prepared
   * @throws {PostgresReplyError} it was rolled back
   * @throws {PostgresError} with code `POSTGRES_OUTCOME_UNKNOWN`
   */
  query<Row extends object>(
    name: string | undefined,
    text: string,
    values: readonly unknown[] = [],
    milliseconds: number = this.#timeout,
  ): Promise<Row[]> {
    return new Promise((resolve, reject) => {
      if (this.#error !== undefined) {
        reject(
          new PostgresError(
            'POSTGRES_UNAVAILABLE',
            `the connection to PostgreSQL at ${this.#address} is over`,
            { cause: this.#error },
          ),
        );
        return;
      }
      // The server gives up first, and says so.
      const callOff = afterReading(milliseconds + 2000, () =>
        this.destroy(new Error(`no answer within ${milliseconds + 2000} ms`)),
      );
      const settled =
        <T>(settle: (value: T) => void) =>
        (value: T): void => {
          callOff();
          settle(value);
        };
      this.#running = { reject: settled(reject), reply: undefined };
      const query = {
        text,
        values: values as unknown[],
        ...(name !== undefined && !this.isPooled && { name }),
      };
      this.#client.query(query, (error, result) => {
        if (this.#running === undefined) return;
        if (error === null) {
          this.#running = undefined;
          settled(resolve)(result.rows as Row[]);
          return;
        }
        const { code } = error as { code?: unknown };
        const isReply = typeof code === 'string' && code.length === 5 && 'severity' in error;
        if (isReply) this.#running.reply = new PostgresReplyError(code, error.message, name ?? '');
        else this.#over(error);
      });
    });
  }

  async end(): Promise<void> {
    await within(END_TIMEOUT, this.#client.end());
    // Where the network is gone, nobody answers.
    this.#client.connection.stream.destroy();
  }

  destroy(error: Error): void {
    this.#client.connection.stream.destroy();
    this.#over(error);
  }

  #over(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    const running = this.#running;
    this.#running = undefined;
    const why = running?.reply?.message ?? error.message;
    const cause = running?.reply ?? error;
    running?.reject(
      new PostgresError(
        'POSTGRES_OUTCOME_UNKNOWN',
        `PostgreSQL at ${this.#address} was lost while it executed a statement, which may have been carried out: ${why}`,
        { cause },
      ),
    );
    this.onEnd(
      new PostgresError(
        'POSTGRES_CONNECTION',
        `the connection to PostgreSQL at ${this.#address} was lost: ${why}`,
        { cause },
      ),
    );
  }
}

const STANDBY = 'is a standby';

async function connect(
  pg: Pg,
  settings: PostgresSettings,
  config: PgConfig,
  made: (client: PgClient) => Connection,
): Promise<Connection> {
  const { address, connectTimeout, applicationName } = settings;
  const client = new pg.Client({
    ...config,
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeout,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: typesOf(pg),
  });
  guard(client);
  try {
    // Also where it is lost at once.
    client.on('error', () => {});
    await new Promise<void>((resolve, reject) =>
      client.connect((error) => (error ? reject(error) : resolve())),
    );
  } catch (error) {
    client.connection.stream.destroy();
    throw new PostgresError(
      'POSTGRES_CONNECTION',
      `no connection to PostgreSQL at ${address}: ${(error as Error).message || String(error)}`,
      { cause: error },
    );
  }
  const connection = made(client);
  try {
    const settled = connection.isPooled ? [] : [own(settings, false), FOR_SESSION];
    const text = `SELECT ${[ABOUT, ...settled].join(', ')}`;
    const [server] = await connection.query<Server>(undefined, text, [], connectTimeout);
    const problem = problemOf(server!, address);
    if (problem !== undefined) throw problem;
    return Object.assign(connection, { server: server!.started });
  } catch (error) {
    connection.destroy(error as Error);
    if (
      error instanceof PostgresError &&
      error.code !== 'POSTGRES_OUTCOME_UNKNOWN' &&
      error.code !== 'POSTGRES_REPLY'
    )
      throw error;
    throw new PostgresError(
      'POSTGRES_CONNECTION',
      `no connection to PostgreSQL at ${address}: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function problemOf(
  { version, isStandby, isReadOnly, encoding }: Server,
  address: string,
): PostgresError | undefined {
  if (isStandby) {
    return new PostgresError(
      'POSTGRES_CONNECTION',
      `PostgreSQL at ${address} ${STANDBY}, which can't be written to: give the address of the primary, or all of them`,
    );
  }
  // Otherwise the first statement that writes would have all of it made anew, again and again.
  if (isReadOnly) {
    return new PostgresError(
      'POSTGRES_CONNECTION',
      `PostgreSQL at ${address} can't be written to as default_transaction_read_only is on, for this role or database`,
    );
  }
  if (version < OLDEST) {
    return new PostgresError(
      'POSTGRES_SCHEMA',
      `PostgreSQL at ${address} is older than version 14, which is the oldest that works`,
    );
  }
  if (encoding === 'UTF8') return undefined;
  return new PostgresError(
    'POSTGRES_SCHEMA',
    `the database of PostgreSQL at ${address} is in ${encoding}, and has to be in UTF8: create another one`,
  );
}

function typesOf(pg: Pg): NonNullable<PgConfig['types']> {
  return {
    getTypeParser(oid, format) {
      if (oid === BIGINT) return Number;
      if (oid === BIGINTS) {
        const parse = pg.types.getTypeParser(oid, format);
        return (value) =>
          (parse(value) as (string | null)[]).map((item) => (item === null ? null : Number(item)));
      }
      return pg.types.getTypeParser(oid, format);
    },
  };
}

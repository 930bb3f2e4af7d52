/** Where a PostgreSQL is and how to talk to it: options, and the forms of its URL. */
import type { ConnectionOptions } from 'node:tls';
import { checkNames, type Names } from '../../option-names.ts';
import type { PgConfig } from './pg.ts';

/**
 * Where a PostgreSQL is: `postgres://user:password@host:5432/database`, with several hosts where one of them is the
 * primary at a time (`postgres://user:password@one:5432,two:5432/database`), and what else `pg` takes behind `?`
 * (`sslmode=verify-full`, `sslrootcert=…`). Or the same as an object.
 */
export type PostgresTarget = string | PostgresAddress;

/** The names are those of `pg`. */
export interface PostgresAddress {
  /** Instead of the others. */
  connectionString?: string;
  /** Default `localhost`. A folder: the unix socket in it. */
  host?: string;
  /** Default 5432. */
  port?: number;
  /** Default: the name of the user. */
  database?: string;
  /** Default: as `pg` has it, PGUSER or the name of the account. */
  user?: string;
  /** A function is asked for each new connection, as a password may be good for minutes only. */
  password?: string | (() => string | Promise<string>);
  /** `true`, or what `tls.connect` takes. Default off, or as the URL says. */
  ssl?: boolean | ConnectionOptions;
}

const ADDRESS: Names<PostgresAddress> = {
  connectionString: true,
  host: true,
  port: true,
  database: true,
  user: true,
  password: true,
  ssl: true,
};

/** How to talk to it. */
export interface PostgresOptions {
  /** Connections at most, besides the one that listens. Default 10. */
  connections?: number;
  /** Shown in `pg_stat_activity`. Default `tidings`. */
  applicationName?: string;
  /** `true`, or what `tls.connect` takes (`ca`, `cert`, `key`, `servername` …): before what the URL says. */
  ssl?: boolean | ConnectionOptions;
  /**
   * Where to listen, in place of the target: needed where that is a PgBouncer that pools by transactions, which can't
   * carry LISTEN. The same database, without the PgBouncer. Statements are not prepared by name then.
   */
  listenOn?: PostgresTarget;
  /** Milliseconds for connecting, TLS and logging in together. Default 10_000. */
  connectTimeout?: number;
  /** Milliseconds from sending a statement to its answer; the server gives up then, too. Default 10_000. */
  statementTimeout?: number;
  /** Milliseconds before the first attempt to connect again, doubled with each, half of it at random. Default 100. */
  reconnectMinDelay?: number;
  /** Milliseconds that the delay does not exceed. Default 5_000. */
  reconnectMaxDelay?: number;
  /** Statements that may wait for a connection. Default 10_000. */
  queueMaxStatements?: number;
  /** Bytes of messages that may wait to be stored. Default 16 MiB. */
  queueMaxBytes?: number;
  /** Milliseconds that a statement waits for a connection at most. Default 10_000. */
  queueMaxWait?: number;
  /** Milliseconds between two looks at whether the listening connection is alive. Default 10_000; 0 turns it off. */
  probeInterval?: number;
  /** Milliseconds for the answer to that look before the connection is replaced. Default 5_000. */
  probeTimeout?: number;
}

export const POSTGRES_OPTIONS: Names<PostgresOptions> = {
  connections: true,
  applicationName: true,
  ssl: true,
  listenOn: true,
  connectTimeout: true,
  statementTimeout: true,
  reconnectMinDelay: true,
  reconnectMaxDelay: true,
  queueMaxStatements: true,
  queueMaxBytes: true,
  queueMaxWait: true,
  probeInterval: true,
  probeTimeout: true,
};

/** Options with every default filled in. */
export interface PostgresSettings extends Required<Omit<PostgresOptions, 'ssl' | 'listenOn'>> {
  /** One for each host, to be tried in turn. */
  servers: PgConfig[];
  /** The same for the connection that listens. */
  listeners: PgConfig[];
  /**
   * Whether the connections, but for the one that listens, lead to others of the server with each transaction: then nothing is
   * prepared under a name, and no setting outlives a transaction.
   */
  isPooled: boolean;
  /** How messages name it: `db.example.com:5432/app`. */
  address: string;
}

const DEFAULTS = {
  connections: 10,
  applicationName: 'tidings',
  connectTimeout: 10_000,
  statementTimeout: 10_000,
  reconnectMinDelay: 100,
  reconnectMaxDelay: 5_000,
  queueMaxStatements: 10_000,
  queueMaxBytes: 16 * 1024 * 1024,
  queueMaxWait: 10_000,
  probeInterval: 10_000,
  probeTimeout: 5_000,
} satisfies PostgresOptions;

/**
 * Merges a target with options and the defaults.
 *
 * @throws {TypeError} if the target is none, or for an option that there is not
 */
export function resolvePostgresOptions(
  target: PostgresTarget,
  options: PostgresOptions = {},
): PostgresSettings {
  checkNames('the options of PostgreSQL', options, POSTGRES_OPTIONS);
  const { ssl, listenOn, ...others } = options;
  const given = Object.fromEntries(Object.entries(others).filter(([, value]) => value !== undefined));
  const settings = { ...DEFAULTS, ...given };
  if (!(Number.isSafeInteger(settings.connections) && settings.connections > 0)) {
    throw new TypeError('connections: a whole number, at least 1');
  }
  const servers = configsOf(target, ssl);
  return {
    ...settings,
    servers,
    listeners: listenOn === undefined ? servers : configsOf(listenOn, ssl),
    isPooled: listenOn !== undefined,
    address: describeServers(servers),
  };
}

/** @throws {TypeError} whose message repeats nothing of it: in a URL that can't be read, any part may be the password */
function configsOf(target: PostgresTarget, ssl: PgConfig['ssl']): PgConfig[] {
  const own = ssl === undefined ? {} : { ssl };
  if (typeof target === 'string') return hostsOf(target).map((config) => ({ ...config, ...own }));
  checkNames('the address of PostgreSQL', target, ADDRESS);
  const { connectionString, ...rest } = target ?? {};
  if (connectionString === undefined) return [{ ...rest, ...own }];
  return hostsOf(connectionString).map((config) => ({ ...config, ...rest, ...own }));
}

/** A URL for each of its hosts. */
function hostsOf(text: string): PgConfig[] {
  const [, scheme, credentials = '', hosts = '', rest = ''] =
    /^(postgres(?:ql)?:\/\/)([^/?#]*@)?([^/?#@]*)([/?].*)?$/s.exec(text) ?? [];
  if (scheme === undefined)
    throw notAUrl('it begins with none of postgres: and postgresql:, or its password holds one of / ? # @');
  if (/^[^?]*@/.test(rest)) throw notAUrl('an @ stands for itself');
  return hosts.split(',').map((host) => {
    const connectionString = `${scheme}${credentials}${host}${rest}`;
    if (!URL.canParse(connectionString) && host !== '') throw notAUrl('it is no URL');
    try {
      const { username, password, pathname } = new URL(
        host === '' ? `${scheme}${credentials}localhost${rest}` : connectionString,
      );
      for (const part of [username, password, pathname]) decodeURIComponent(part);
    } catch {
      throw notAUrl('a % stands for itself, or it is no URL');
    }
    return { connectionString };
  });
}

function notAUrl(why: string): TypeError {
  return new TypeError(
    `not a PostgreSQL URL: ${why} (expected postgres://user:password@host:port/database; in a password /, ?, #, @ and % ` +
      'are written %2F, %3F, %23, %40 and %25). It is not shown, as it may hold a password',
  );
}

/** `one:5432,two:5432/app` */
function describeServers(servers: readonly PgConfig[]): string {
  const parts = servers.map(({ connectionString, host, port, database }) => {
    const url =
      connectionString === undefined
        ? undefined
        : new URL(connectionString.replace('@/', '@localhost/').replace(':///', '://localhost/'));
    const name = host ?? url?.searchParams.get('host') ?? (url?.hostname || 'localhost');
    return {
      place: `${decodeURIComponent(name)}:${port ?? (url?.port || 5432)}`,
      database: database ?? decodeURIComponent(url?.pathname.slice(1) ?? ''),
    };
  });
  const places = parts.map(({ place }) => place).join(',');
  return parts[0]!.database === '' ? places : `${places}/${parts[0]!.database}`;
}

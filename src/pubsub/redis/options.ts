/** Where a Redis is and how to talk to it: the options of every client here, and the URL forms. */
import type { ConnectionOptions } from 'node:tls';
import { checkNames, type Names } from '../../option-names.ts';

/** Where a Redis is, and how to talk to it. */
export interface RedisOptions {
  /** Default `127.0.0.1`. */
  host?: string;
  /** Default 6379. */
  port?: number;
  /** Path of a unix socket; then `host` and `port` do not count. */
  path?: string;
  /** `true`, or what `tls.connect` takes (`ca`, `cert`, `key`, `servername` …). Default off. */
  tls?: boolean | ConnectionOptions;
  /** ACL user. Default: none, so that `password` is that of the `default` user. */
  username?: string;
  /** Default: none. */
  password?: string;
  /** Number for SELECT. Default 0. Redis Cluster has only 0. */
  database?: number;
  /** Shown by CLIENT LIST. Default `tidings`. */
  clientName?: string;
  /** Milliseconds for connecting, TLS and logging in together. Default 10_000. */
  connectTimeout?: number;
  /** Milliseconds from writing a command to its reply. Default 10_000; 0 waits forever. */
  commandTimeout?: number;
  /** Milliseconds before the first attempt to reconnect, doubled with each, half of it at random. Default 100. */
  reconnectMinDelay?: number;
  /** Milliseconds that the delay does not exceed. Default 5_000. */
  reconnectMaxDelay?: number;
  /** Commands that may wait for a connection. Default 10_000. */
  queueMaxCommands?: number;
  /** Bytes of commands that may wait for a connection, or to be taken by a slow one. Default 16 MiB. */
  queueMaxBytes?: number;
  /** Milliseconds that a command waits for a connection at most. Default 10_000; 0 fails at once. */
  queueMaxWait?: number;
  /** Milliseconds without a byte before a PING. Default 10_000; 0 turns it off. */
  probeInterval?: number;
  /** Milliseconds for the answer to that PING before the connection is replaced. Default 5_000. */
  probeTimeout?: number;
  /**
   * Bytes of one reply or message. A longer one is passed over: what asked for it fails with `REDIS_REPLY_TOO_LONG`,
   * and nothing else. Default 64 MiB.
   */
  maxReplySize?: number;
}

export const REDIS_OPTIONS: Names<RedisOptions> = {
  host: true,
  port: true,
  path: true,
  tls: true,
  username: true,
  password: true,
  database: true,
  clientName: true,
  connectTimeout: true,
  commandTimeout: true,
  reconnectMinDelay: true,
  reconnectMaxDelay: true,
  queueMaxCommands: true,
  queueMaxBytes: true,
  queueMaxWait: true,
  probeInterval: true,
  probeTimeout: true,
  maxReplySize: true,
};

/** Options with every default filled in. */
export type ResolvedRedisOptions = Required<Omit<RedisOptions, 'path' | 'username' | 'password' | 'tls'>> &
  Pick<RedisOptions, 'path' | 'username' | 'password' | 'tls'>;

export const DEFAULT_MAX_REPLY = 64 * 1024 * 1024;

const DEFAULTS = {
  host: '127.0.0.1',
  port: 6379,
  database: 0,
  clientName: 'tidings',
  connectTimeout: 10_000,
  commandTimeout: 10_000,
  reconnectMinDelay: 100,
  reconnectMaxDelay: 5_000,
  queueMaxCommands: 10_000,
  queueMaxBytes: 16 * 1024 * 1024,
  queueMaxWait: 10_000,
  probeInterval: 10_000,
  probeTimeout: 5_000,
  maxReplySize: DEFAULT_MAX_REPLY,
} satisfies RedisOptions;

/**
 * Merges a URL with options (which win) and the defaults.
 *
 * @throws {TypeError} if the URL is none of the forms of `parseRedisUrl`, or for an option that there is not
 */
export function resolveRedisOptions(
  url: string | RedisOptions = {},
  options: RedisOptions = {},
): ResolvedRedisOptions {
  const resolved: ResolvedRedisOptions = { ...DEFAULTS };
  for (const source of [typeof url === 'string' ? parseRedisUrl(url) : url, options]) {
    checkNames('the options of Redis', source, REDIS_OPTIONS);
    // An option that is there but undefined leaves the default.
    for (const [key, value] of Object.entries(source)) {
      if (value !== undefined) Object.assign(resolved, { [key]: value });
    }
  }
  return resolved;
}

/**
 * `redis://[[user]:password@]host[:port][/database]`, `rediss://…` for TLS, `redis+unix:///path[?db=1]` or
 * `unix:/path[?db=1]` for a unix socket. User and password are percent-decoded.
 *
 * @throws {TypeError} on anything else. The message repeats nothing of it: in a URL that can't be read, any part
 *   may be the password.
 */
export function parseRedisUrl(text: string): RedisOptions {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) throw notAUrl('it is no URL');
  const options: RedisOptions = {};
  if (url.username !== '') options.username = decoded(url.username);
  if (url.password !== '') options.password = decoded(url.password);
  let database = url.searchParams.get('db') ?? '';
  switch (url.protocol) {
    case 'rediss:':
    case 'redis:':
      if (!/^rediss?:\/\//i.test(text)) throw notAUrl('// is missing');
      if (url.protocol === 'rediss:') options.tls = true;
      if (url.hostname !== '') options.host = url.hostname.replace(/^\[(.*)\]$/, '$1');
      if (url.port !== '') options.port = Number(url.port);
      database ||= url.pathname.slice(1);
      break;
    case 'redis+unix:':
    case 'unix:':
      options.path = decoded(url.pathname);
      if (options.path === '') throw notAUrl('a unix socket needs a path');
      break;
    default:
      throw notAUrl('it begins with none of redis:, rediss:, redis+unix: and unix:');
  }
  const others = [...url.searchParams.keys()].filter((name) => name !== 'db');
  if (others.length > 0 || url.hash !== '') throw notAUrl('what follows ? or # is not known');
  if (database !== '') {
    if (!/^\d{1,9}$/.test(database)) throw notAUrl('the database is not a number');
    options.database = Number(database);
  }
  return options;
}

export function notAUrl(why: string): TypeError {
  return new TypeError(
    `not a Redis URL: ${why} (expected redis://[user:password@]host:port/0; in a password /, ?, #, @ and % are ` +
      'written %2F, %3F, %23, %40 and %25). It is not shown, as it may hold a password',
  );
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // Why is all that can be said without repeating it.
    throw notAUrl('a % stands for itself');
  }
}

/** How messages name a server: `127.0.0.1:6379`, `[::1]:6379` or `unix:/path`. */
export function describeEndpoint(endpoint: { host?: string; port?: number; path?: string }): string {
  if (endpoint.path !== undefined) return `unix:${endpoint.path}`;
  const host = endpoint.host ?? DEFAULTS.host;
  return `${host.includes(':') ? `[${host}]` : host}:${endpoint.port ?? DEFAULTS.port}`;
}

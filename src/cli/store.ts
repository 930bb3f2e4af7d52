/** The store that instances share, as every command is told about it that uses one: a Redis or a PostgreSQL. */
import type { Broker } from '../pubsub/store/broker.ts';
import type { PostgresBrokerOptions } from '../pubsub/store/postgres-broker.ts';
import type { RedisBrokerOptions } from '../pubsub/store/redis-broker.ts';
import { file, secret, text, UsageError, type Values } from './options.ts';

/** What belongs to the URL of a store. */
export const storeOptions = {
  redisPrefix: text('PREFIX', 'Begins every key and channel in Redis', 'tidings'),
  redisCa: file('FILE', "PEM file of the authorities that rediss: trusts in place of the system's"),
  redisCert: file('FILE', 'PEM file of the certificate that rediss: shows to a server that asks for one'),
  redisKey: file('FILE', "PEM file of that certificate's key"),
  postgresSchema: text('SCHEMA', 'Has all tables and functions in PostgreSQL', 'tidings'),
  postgresListen: secret(
    text('URL', 'Listens there: the same database, past a PgBouncer that pools by transactions'),
  ),
};

type StoreValues = Values<typeof storeOptions> & {
  redis?: string | undefined;
  postgres?: string | undefined;
};

/** Makes the broker of whichever URL there is. */
export interface Stores {
  redisBroker(url: string, options: RedisBrokerOptions): Broker;
  postgresBroker(url: string, options: PostgresBrokerOptions): Broker;
}

/**
 * @param more for either
 * @returns undefined where there is no URL
 * @throws {UsageError} for one that can't be used
 */
export function storeOf(
  values: StoreValues,
  { redisBroker, postgresBroker }: Partial<Stores>,
  more: { publishMaxWait?: number } = {},
): Broker | undefined {
  const { redis, postgres, postgresSchema: schema, postgresListen: listenOn } = values;
  if (redis !== undefined && postgres !== undefined)
    throw new UsageError('give one of --redis and --postgres');
  if (redis !== undefined) {
    return named('redis', () => redisBroker!(redis, { ...redisSettings(redis, values), ...more }));
  }
  if (postgres === undefined) return undefined;
  const options = { schema, ...(listenOn !== undefined && { listenOn }), ...more };
  return named('postgres', () => postgresBroker!(postgres, options));
}

function named(option: string, make: () => Broker): Broker {
  try {
    return make();
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(`--${option}: ${error.message}`) : error;
  }
}

/** @throws {UsageError} for files that a URL without TLS has no use for */
function redisSettings(
  url: string,
  { redisPrefix: prefix, redisCa, redisCert, redisKey }: Values<typeof storeOptions>,
): RedisBrokerOptions {
  const files = Object.entries({ ca: redisCa, cert: redisCert, key: redisKey }).filter(([, file]) => file);
  if (files.length === 0) return { prefix };
  if (!/^rediss[:+]/.test(url)) throw new UsageError('--redis-ca, -cert and -key are for rediss: URLs');
  if ((redisCert === undefined) !== (redisKey === undefined)) {
    throw new UsageError('give --redis-cert and --redis-key together');
  }
  return { prefix, tls: Object.fromEntries(files.map(([name, file]) => [name, file!.text])) };
}

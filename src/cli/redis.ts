/** What all commands that use Redis directly can be told about it, besides its URL. */
import { readFileSync } from 'node:fs';
import type { RedisBrokerOptions } from '../pubsub/store/redis-broker.ts';
import { text, UsageError, type Values } from './options.ts';

export const redisOptions = {
  redisPrefix: text('PREFIX', 'Begins every key and channel in Redis', 'tidings'),
  redisCa: text('FILE', "PEM file of the authorities that rediss: trusts in place of the system's"),
  redisCert: text('FILE', 'PEM file of the certificate that rediss: shows to a server that asks for one'),
  redisKey: text('FILE', "PEM file of that certificate's key"),
};

/** @throws {UsageError} for files that can't be read, or that a URL without TLS has no use for */
export function redisSettings(
  url: string,
  { redisPrefix: prefix, redisCa, redisCert, redisKey }: Values<typeof redisOptions>,
): RedisBrokerOptions {
  const files = Object.entries({ ca: redisCa, cert: redisCert, key: redisKey }).filter(([, file]) => file);
  if (files.length === 0) return { prefix };
  if (!/^rediss[:+]/.test(url)) throw new UsageError('--redis-ca, -cert and -key are for rediss: URLs');
  if ((redisCert === undefined) !== (redisKey === undefined)) {
    throw new UsageError('give --redis-cert and --redis-key together');
  }
  return { prefix, tls: Object.fromEntries(files.map(([name, file]) => [name, pem(name, file!)])) };
}

function pem(name: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new UsageError(`--redis-${name}: can't read ${file}: ${(error as Error).message}`);
  }
}

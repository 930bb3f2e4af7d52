/** What all commands that use Redis directly can be told about it, besides its URL. */
import type { RedisBrokerOptions } from '../pubsub/store/redis-broker.ts';
import { file, text, UsageError, type Values } from './options.ts';

export const redisOptions = {
  redisPrefix: text('PREFIX', 'Begins every key and channel in Redis', 'tidings'),
  redisCa: file('FILE', "PEM file of the authorities that rediss: trusts in place of the system's"),
  redisCert: file('FILE', 'PEM file of the certificate that rediss: shows to a server that asks for one'),
  redisKey: file('FILE', "PEM file of that certificate's key"),
};

/** @throws {UsageError} for files that a URL without TLS has no use for */
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
  return { prefix, tls: Object.fromEntries(files.map(([name, file]) => [name, file!.text])) };
}

/** How a Redis Cluster says "not here" and "not now", and what is done about it. */
import { type RedisError, RedisReplyError, wasNotExecuted } from './errors.ts';
import { describeEndpoint } from './options.ts';
import type { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';

/** Sends a command to a node that is taking the slot over but does not have it yet. */
export async function ask(
  client: RespClient,
  args: readonly [string, ...RespArgument[]],
  returnBuffers = false,
): Promise<RespReply> {
  const [name, ...rest] = args;
  const asking = client.command('ASKING');
  const reply = returnBuffers ? client.commandBuffers(name, ...rest) : client.command(name, ...rest);
  const [, value] = await Promise.all([asking, reply]);
  return value;
}

/** Where MOVED and ASK point to. */
export function redirection(
  failure: unknown,
  from: { client: RespClient } | undefined,
): { address: string; isAsk: boolean } | undefined {
  if (!(failure instanceof RedisReplyError)) return undefined;
  const [prefix, , target] = failure.reply.split(' ');
  if ((prefix !== 'MOVED' && prefix !== 'ASK') || target === undefined) return undefined;
  const colon = target.lastIndexOf(':');
  // A node that does not know an address leaves the host out: it is its own. One whose name is not known is "?", of
  // which the map says more.
  const host = target.slice(0, colon) || from?.client.options.host;
  if (host === undefined || host === '?') return undefined;
  return {
    address: describeEndpoint({ host, port: Number(target.slice(colon + 1)) }),
    isAsk: prefix === 'ASK',
  };
}

/**
 * The host of a node as CLUSTER SLOTS tells it, or undefined where it is that of whoever was asked. A node that is
 * to be named by a host name and has none is "?" or nil, with its address among the rest.
 */
export function hostOf([host, , , more]: RespReply[]): string | undefined {
  if (typeof host === 'string' && host !== '' && host !== '?') return host;
  for (let i = 0; Array.isArray(more) && i + 1 < more.length; i += 2) {
    if (more[i] === 'ip' || more[i] === 'hostname') return String(more[i + 1]) || undefined;
  }
  return undefined;
}

/** True for what ends by itself: a failover, a slot on its way, a node that is starting. */
export function mayPass(failure: unknown): boolean {
  // The queue of a node that is full stays full. A node that left the map was closed before it sent anything.
  return wasNotExecuted(failure) && (failure as RedisError).code !== 'REDIS_QUEUE_FULL';
}

export function isTryAgain(failure: unknown): boolean {
  return failure instanceof RedisReplyError && failure.prefix === 'TRYAGAIN';
}

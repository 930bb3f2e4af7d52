/** How a Redis Cluster says "not here" and "not now", and what is done about it. */
import { clearTimeout, setTimeout } from '../clock.ts';
import { RedisError, RedisReplyError } from './redis-errors.ts';
import { describeEndpoint } from './redis-options.ts';
import type { RespClient } from './resp-client.ts';
import type { RespArgument } from './resp-encoder.ts';
import type { RespReply } from './resp-reader.ts';

/** Milliseconds that a node gets to tell the map before the next is asked. */
const MAP_TIMEOUT = 1000;

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
  // A node that does not know an address leaves the host out: it is its own.
  const host = target.slice(0, colon) || (from === undefined ? '' : from.client.options.host);
  return {
    address: describeEndpoint({ host, port: Number(target.slice(colon + 1)) }),
    isAsk: prefix === 'ASK',
  };
}

/** True for what ends by itself: a failover, a slot on its way, a node that is starting. */
export function mayPass(failure: unknown): boolean {
  if (failure instanceof RedisReplyError) {
    return ['CLUSTERDOWN', 'TRYAGAIN', 'LOADING', 'READONLY', 'MASTERDOWN', 'MOVED', 'ASK'].includes(
      failure.prefix,
    );
  }
  if (!(failure instanceof RedisError)) return false;
  // The client of a node that left the map was closed before it sent anything.
  return failure.code === 'REDIS_UNAVAILABLE' || failure.code === 'REDIS_CLOSED';
}

export function isTryAgain(failure: unknown): boolean {
  return failure instanceof RedisReplyError && failure.prefix === 'TRYAGAIN';
}

/** A node that hangs must not keep the map from being read elsewhere. */
export async function inTime<T>(reply: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${MAP_TIMEOUT} ms`)), MAP_TIMEOUT);
  });
  try {
    return await Promise.race([reply, overdue]);
  } finally {
    clearTimeout(timer);
  }
}

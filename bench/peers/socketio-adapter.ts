/** Socket.IO's Redis adapters, as their documentation sets them up. */
import { createAdapter as createPubSubAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import type { ServerOptions } from 'socket.io';

export async function redisAdapter(
  url: string,
  usesStreams: boolean,
  fail: (error: Error) => void,
): Promise<NonNullable<ServerOptions['adapter']>> {
  const connect = async () => {
    const client = createClient({ url });
    client.on('error', fail);
    await client.connect();
    return client;
  };
  // By default the stream has the last 10,000 messages of all users together: fewer than these rows send at once.
  return usesStreams
    ? createStreamsAdapter(await connect(), { maxLen: 100_000 })
    : createPubSubAdapter(await connect(), await connect());
}

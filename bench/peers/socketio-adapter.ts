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
  return usesStreams
    ? createStreamsAdapter(await connect())
    : createPubSubAdapter(await connect(), await connect());
}

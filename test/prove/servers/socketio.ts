/**
 * A program: an instance of a Socket.IO server with one of its Redis adapters, as their documentation sets it up, connection
 * state recovery included where the adapter has it (streams). `POST /send/USER` emits to the room of the user.
 */
import { createServer } from 'node:http';
import { createAdapter as createPubSubAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const [port, store, adapter] = process.argv.slice(2) as [string, string, 'pubsub' | 'streams'];
const connect = async () => {
  const client = createClient({ url: store });
  // Without a listener it would end the process; it connects again by itself.
  client.on('error', () => {});
  await client.connect();
  return client;
};
const client = await connect();
const isStreams = adapter === 'streams';

const http = createServer(async (request, response) => {
  const [, verb, user = ''] = decodeURIComponent(request.url ?? '').split('/');
  if (verb !== 'send') {
    response.writeHead(404).end();
    return;
  }
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  // There is no more to wait for: `emit` to a room returns at once and reports nothing.
  io.to(user).emit('message', text);
  response.writeHead(201).end();
});
const io = new Server(http, {
  adapter: isStreams ? createStreamsAdapter(client) : createPubSubAdapter(client, await connect()),
  serveClient: false,
  // As short as the heartbeat of tidings' pages in the same runs.
  pingInterval: 1500,
  pingTimeout: 1500,
  ...(isStreams && { connectionStateRecovery: {} }),
});
io.on('connection', (socket) => {
  const { user } = socket.handshake.auth as { user: string };
  if (!socket.recovered) socket.join(user);
});

// The adapter does not look at what becomes of a PUBLISH; one that fails would end the process.
process.on('unhandledRejection', () => {});
process.on('SIGTERM', () => process.exit(0));
http.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));

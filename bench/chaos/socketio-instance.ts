/**
 * A program: one instance of a Socket.IO server with one of its Redis adapters, as their documentation sets it up,
 * connection state recovery included where the adapter has it. It takes `POST /send/<stream>` like tidings'.
 */
import { createServer } from 'node:http';
import { createAdapter as createPubSubAdapter } from '@socket.io/redis-adapter';
import { createAdapter as createStreamsAdapter } from '@socket.io/redis-streams-adapter';
import { createClient } from 'redis';
import { Server } from 'socket.io';

const { port, store } = JSON.parse(process.env['CHAOS_INSTANCE']!) as { port: number; store: string };
const usesStreams = process.argv[2] === 'streams';

const connect = async () => {
  const client = createClient({ url: store });
  // Without a listener it would end the process; it connects again by itself.
  client.on('error', () => {});
  await client.connect();
  return client;
};
const client = await connect();
const adapter = usesStreams ? createStreamsAdapter(client) : createPubSubAdapter(client, await connect());

const http = createServer((request, response) => {
  const [, verb, stream] = decodeURIComponent(request.url ?? '').split('/');
  if (verb !== 'send' || stream === undefined) {
    response.writeHead(404).end('{}');
    return;
  }
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const { data } = JSON.parse(Buffer.concat(chunks).toString());
    // There is no more to wait for: `emit` to a room returns at once and reports nothing.
    io.to(stream).emit('message', stream, data);
    response.writeHead(201).end('{"duplicate":false}');
  });
});

const io = new Server(http, {
  path: '/socketServer',
  adapter,
  serveClient: false,
  // As short as tidings' heartbeat in the same scenarios.
  pingInterval: 1500,
  pingTimeout: 1500,
  ...(usesStreams && { connectionStateRecovery: {} }),
});
io.on('connection', (socket) => {
  const { user, topics } = socket.handshake.auth as { user: string; topics: string[] };
  if (!socket.recovered) socket.join([`user:${user}`, ...topics]);
});

// The adapter does not look at what becomes of a PUBLISH; one that fails would end the process.
process.on('unhandledRejection', () => {});

process.on('SIGTERM', () => {
  void io.close(() => process.exit(0));
  // Upgraded connections and those of the publisher keep an HTTP server open.
  http.closeAllConnections();
});

http.listen(port, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));

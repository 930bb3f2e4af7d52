/**
 * Socket.IO with one of its Redis adapters: a page is in the room of its user and in those of its topics. With the
 * adapter for streams it has connection state recovery.
 */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { redisAdapter } from './socketio-adapter.ts';
import { wrong } from './wrong.ts';

const { port, host, redis, streams } = await peerOptions();
const server = createServer();
const io = new Server(server, {
  transports: ['websocket'],
  serveClient: false,
  adapter: await redisAdapter(redis, streams, wrong),
  ...(streams && { connectionStateRecovery: {} }),
});
io.engine.on('connection_error', wrong);
io.on('connection', (socket) => {
  socket.on('error', wrong);
  if (socket.recovered) return;
  const { operator, topic } = socket.handshake.query;
  void socket.join([`user:${operator}`, ...[topic ?? []].flat().map((name) => `topic:${name}`)]);
});
server.listen(port, host, 4096, () => listening('ws', host, portOf(server)));

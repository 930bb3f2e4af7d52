/** Socket.IO, its WebSocket transport: events named `m`. */
import { createServer } from 'node:http';
import { Server } from 'socket.io';
import { listening, MAX_MESSAGE, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const { port, host, mode, deflate } = await peerOptions();
const server = createServer();
const io = new Server(server, {
  transports: ['websocket'],
  perMessageDeflate: deflate,
  maxHttpBufferSize: MAX_MESSAGE,
  serveClient: false,
});
io.engine.on('connection_error', wrong);
io.on('connection', (socket) => {
  socket.on('error', wrong);
  if (mode === 'echo') socket.on('m', (data) => socket.emit('m', data));
  else if (mode === 'broadcast') socket.on('m', (data) => io.emit('m', data));
});
server.listen(port, host, 4096, () => listening('ws', host, portOf(server)));

/** What one writes by hand: ws, and ioredis for a channel that all instances hear. Nothing is kept. */
import { Redis } from 'ioredis';
import { WebSocket, WebSocketServer } from 'ws';
import { listening, MAX_MESSAGE, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const { port, host, redis } = await peerOptions();
const address = new URL(redis);
const publisher = new Redis(Number(address.port), address.hostname);
const subscriber = new Redis(Number(address.port), address.hostname);
const server = new WebSocketServer({
  port,
  host,
  perMessageDeflate: false,
  maxPayload: MAX_MESSAGE,
  backlog: 4096,
});
for (const client of [publisher, subscriber]) client.on('error', wrong);
await subscriber.subscribe('bench');
subscriber.on('message', (_channel: string, message: string) => {
  for (const client of server.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(message);
  }
});
server.on('connection', (socket) => {
  socket.on('error', wrong);
  socket.on('message', (data) => void publisher.publish('bench', data.toString()));
});
listening('ws', host, portOf(server));

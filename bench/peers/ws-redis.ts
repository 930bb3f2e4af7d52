/**
 * What one writes by hand: ws, and ioredis, subscribed for each user and topic that there are pages of. Nothing is
 * kept, so nothing can be recovered. What a page sends goes to all pages of its channel.
 */
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
  clientTracking: false,
  maxPayload: MAX_MESSAGE,
  backlog: 4096,
});
for (const client of [publisher, subscriber]) client.on('error', wrong);
const pages = new Map<string, Set<WebSocket>>();
subscriber.on('message', (channel: string, message: string) => {
  for (const page of pages.get(channel) ?? []) {
    if (page.readyState === WebSocket.OPEN) page.send(message);
  }
});
server.on('connection', (socket, request) => {
  const { searchParams } = new URL(request.url!, 'ws://bench');
  const channels = [
    `user:${searchParams.get('operator')}`,
    ...searchParams.getAll('topic').map((topic) => `topic:${topic}`),
  ];
  for (const channel of channels) {
    const set = pages.get(channel);
    if (set !== undefined) set.add(socket);
    else {
      pages.set(channel, new Set([socket]));
      subscriber.subscribe(channel).catch(wrong);
    }
  }
  socket.on('error', wrong);
  socket.on('message', (data) => void publisher.publish(channels[0]!, data.toString()));
  socket.on('close', () => {
    for (const channel of channels) {
      const set = pages.get(channel)!;
      set.delete(socket);
      if (set.size > 0) continue;
      pages.delete(channel);
      subscriber.unsubscribe(channel).catch(wrong);
    }
  });
});
server.on('listening', () => listening('ws', host, portOf(server)));

/**
 * A program, as one writes it by hand: `ws`, and Redis pub/sub between instances. `POST /send/USER` publishes; a page at
 * `/?user=USER` gets what is published while it is there.
 */
import { createServer } from 'node:http';
import { createClient } from 'redis';
import { WebSocket, WebSocketServer } from 'ws';

const [port, store] = process.argv.slice(2) as [string, string];
const connect = async () => {
  const client = createClient({ url: store });
  // Without a listener it would end the process; it connects again by itself.
  client.on('error', () => {});
  await client.connect();
  return client;
};
const [publisher, subscriber] = await Promise.all([connect(), connect()]);
const pages = new Map<string, Set<WebSocket>>();

const http = createServer(async (request, response) => {
  const [, , user = ''] = decodeURIComponent(request.url ?? '').split('/');
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += chunk;
  publisher.publish(user, text).then(
    () => response.writeHead(201).end(),
    () => response.writeHead(503).end(),
  );
});
new WebSocketServer({ server: http, perMessageDeflate: false }).on('connection', (socket, request) => {
  const user = new URL(request.url ?? '', 'ws://host').searchParams.get('user') ?? '';
  const mine = pages.get(user) ?? new Set();
  if (!pages.has(user)) {
    pages.set(user, mine);
    const hand = (message: string): void => {
      for (const page of mine) if (page.readyState === WebSocket.OPEN) page.send(message);
    };
    subscriber.subscribe(user, hand).catch(() => {});
  }
  mine.add(socket);
  socket.on('error', () => {});
  socket.on('close', () => mine.delete(socket));
});
process.on('SIGTERM', () => process.exit(0));
http.listen(Number(port), '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${port}/`));

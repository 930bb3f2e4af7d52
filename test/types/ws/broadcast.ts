/** Whatever anyone sends goes to all others. */
import { createServer as createSecureServer } from 'node:https';
import WebSocket, { WebSocketServer } from 'tidings/ws';

const wss = new WebSocketServer({ port: 8080, host: '127.0.0.1', backlog: 100, clientTracking: true }, () => {
  console.log('listening');
});
const rooms = new Map<string, Set<WebSocket>>();
const names = new WeakMap<WebSocket.WebSocket, string>();

wss.on('connection', function connection(ws, request) {
  const room = new URL(request.url ?? '/', 'ws://localhost').pathname;
  if (!rooms.has(room)) rooms.set(room, new Set());
  rooms.get(room)?.add(ws);
  names.set(ws, room);
  ws.on('message', (data, isBinary) => {
    wss.clients.forEach(function each(client) {
      if (client !== ws && client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
    });
    for (const client of rooms.get(room) ?? []) client.send(data);
  });
  ws.once('close', () => rooms.get(room)?.delete(ws));
});
wss.on('listening', () => console.log('ready'));
wss.on('error', (error) => console.error((error as NodeJS.ErrnoException).code));

const bytes = new Uint8Array(4);
for (const client of wss.clients) {
  client.send('text');
  client.send(bytes);
  client.send(bytes.buffer);
  client.send(new DataView(bytes.buffer));
  client.send(new Float32Array(2));
  client.send(Buffer.from('x'), { binary: false });
  client.send([1, 2, 3]);
  client.send(new Blob(['x']));
  client.send(42);
  client.send(new String('boxed'));
  client.send('with a callback', (error) => {
    const message: string | undefined = error?.message;
    console.log(message);
  });
  client.send('with both', { compress: false }, (error) => console.log(error instanceof Error));
  client.close(1001, Buffer.from('bye'));
}

const secure = createSecureServer({ cert: '', key: '' });
const other = new WebSocketServer({ server: secure, perMessageDeflate: true });
other.close((err) => {
  if (err) throw err;
  secure.close();
});

function closeAll(server: WebSocketServer): Promise<void> {
  return new Promise((resolve, reject) => {
    for (const ws of server.clients) ws.terminate();
    server.close((err?: Error) => (err ? reject(err) : resolve()));
  });
}
void closeAll(wss);

// @ts-expect-error a port is a number
new WebSocketServer({ port: '8080' });
// @ts-expect-error no such option
new WebSocketServer({ prot: 8080 });
// @ts-expect-error it is a Set
wss.clients.push;

/** What an application with Express and ws looks like: one server, upgrades authorised by the session. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import express from 'express';
import WebSocket, { createWebSocketStream, WebSocketServer } from 'ws';

const app = express();
app.get('/page', (_request, response) => response.send('a page'));
const server = createServer(app);
const wss = new WebSocketServer({ clientTracking: false, noServer: true });
const users = new Map();

server.on('upgrade', (request, socket, head) => {
  const user = /user=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  if (user === undefined) {
    socket.write('HTTP/1.1 401 Unauthorized\r\n\r\n');
    socket.destroy();
    return;
  }
  wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request, user));
});
wss.on('connection', (ws, request, user) => {
  users.set(user, ws);
  ws.isAlive = true;
  ws.on('error', console.error);
  ws.on('pong', () => {
    ws.isAlive = true;
  });
  if (request.url === '/stream') {
    const stream = createWebSocketStream(ws, { encoding: 'utf8' });
    stream.pipe(stream);
  } else {
    ws.on('message', (message) => {
      const { to, text } = JSON.parse(message);
      const peer = users.get(to);
      if (peer?.readyState === WebSocket.OPEN) peer.send(`${user} ${text}`);
    });
  }
  ws.on('close', () => users.delete(user));
});
// The example of ws's README, with a round when a request asks for it instead of after a time.
app.get('/round', async (_request, response) => {
  const pongs = [];
  for (const ws of users.values()) {
    if (ws.isAlive === false) ws.terminate();
    ws.isAlive = false;
    ws.ping();
    pongs.push(once(ws, 'pong'));
  }
  await Promise.all(pongs);
  response.end();
});

server.listen(Number(process.env.PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}/`);
});
process.once('SIGTERM', () => {
  for (const ws of users.values()) ws.close();
  server.close();
});

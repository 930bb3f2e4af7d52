/** An Express application with a WebSocket server and a heartbeat, as ws's README has it. */
import { createServer, type IncomingMessage } from 'node:http';
import express from 'express';
import type WebSocket from 'tidings/ws';
import { WebSocketServer } from 'tidings/ws';

interface LiveSocket extends WebSocket {
  isAlive: boolean;
  user?: string;
}

const app = express();
app.get('/', (_request, response) => {
  response.send(`clients: ${wss.clients.size}`);
});
const server = createServer(app);
const wss = new WebSocketServer({ server, path: '/live', maxPayload: 64 * 1024 });

function heartbeat(this: WebSocket): void {
  (this as LiveSocket).isAlive = true;
}

wss.on('connection', (ws: LiveSocket, request: IncomingMessage) => {
  ws.isAlive = true;
  const ip: string | undefined = request.socket.remoteAddress;
  const forwarded = request.headers['x-forwarded-for'];
  ws.user = typeof forwarded === 'string' ? forwarded : ip;
  ws.on('pong', heartbeat);
  ws.on('error', console.error);
  ws.on('message', function message(data, isBinary) {
    const text: string = isBinary ? '' : data.toString();
    this.send(`${ws.user}: ${text}`, (err?: Error) => {
      if (err) console.error(err.message);
    });
  });
  ws.on('close', (code, reason) => {
    console.log(code.toFixed(), reason.toString('utf8'));
  });
});

const interval = setInterval(() => {
  wss.clients.forEach((each) => {
    const ws = each as LiveSocket;
    if (!ws.isAlive) ws.terminate();
    ws.isAlive = false;
    ws.ping();
  });
}, 30_000);

wss.on('close', () => clearInterval(interval));
server.listen(0, () => {
  const address = wss.address();
  if (address !== null && typeof address !== 'string') console.log(address.port, address.family);
});

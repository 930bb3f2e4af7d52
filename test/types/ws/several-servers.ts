/** Several servers without a port of theirs behind one http.Server, with authentication before the upgrade. */
import { createServer, type IncomingMessage } from 'node:http';
import { type WebSocket, WebSocketServer } from 'tidings/ws';

interface Client {
  id: number;
}

const server = createServer();
const chat = new WebSocketServer({ noServer: true });
const admin = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false });

chat.on('connection', (ws: WebSocket, request: IncomingMessage, client: Client) => {
  ws.on('message', (data) => console.log(`${client.id} of ${request.url}: ${data}`));
});
admin.on('connection', (ws) => ws.close(1008, 'not yet'));

function authenticate(request: IncomingMessage, done: (error: Error | null, client?: Client) => void): void {
  done(null, { id: Number(request.headers['x-id']) });
}

server.on('upgrade', (request, socket, head) => {
  const { pathname } = new URL(request.url ?? '', 'ws://localhost');
  authenticate(request, (error, client) => {
    if (error || !client) {
      socket.write('HTTP/1.1 401 Unauthorized\r\n\r\n');
      socket.destroy();
    } else if (pathname === '/chat') {
      chat.handleUpgrade(request, socket, head, (ws) => {
        chat.emit('connection', ws, request, client);
      });
    } else if (pathname === '/admin' && admin.shouldHandle(request)) {
      admin.handleUpgrade(request, socket, head, (ws, upgraded) => admin.emit('connection', ws, upgraded));
    } else {
      socket.destroy();
    }
  });
});

// @ts-expect-error the callback is missing
server.on('upgrade', (request, socket, head) => chat.handleUpgrade(request, socket, head));

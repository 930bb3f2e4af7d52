/** tidings/ws on its own listener, or on an http.Server (--embedded). Limits are at their defaults. */
import { createServer } from 'node:http';
import type { Handler, WebSocket } from '../../src/ws.ts';
import { WebSocketServer } from '../../src/ws.ts';
import { listening, MAX_MESSAGE, peerOptions, portOf } from './peer-options.ts';

const { port, host, mode, deflate, embedded } = peerOptions();
const TEXT = { binary: false };

const handler: Handler<WebSocket> = {
  message(socket, data, isBinary) {
    if (mode === 'echo') {
      if (isBinary) socket.send(data);
      else socket.send(data, TEXT);
    } else if (mode === 'broadcast') {
      server.broadcast(isBinary ? data : data.toString());
    }
  },
};
const options = {
  handler,
  views: true,
  perMessageDeflate: deflate,
  maxPayload: MAX_MESSAGE,
  clientTracking: mode === 'broadcast',
  backlog: 4096,
};
const http = embedded ? createServer() : undefined;
const server: WebSocketServer =
  http === undefined
    ? new WebSocketServer({ ...options, port, host })
    : new WebSocketServer({ ...options, server: http });
http?.listen(port, host, 4096);
server.on('listening', () => listening('ws', host, portOf(http ?? server)));

/** tidings/ws on its own listener, or on an http.Server (--embedded). Limits are at their defaults where no other is given. */
import { createServer } from 'node:http';
import { type Handler, type WebSocket, WebSocketServer } from '../../src/ws.ts';
import { answerer } from './answers.ts';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const options = await peerOptions();
const { port, host, mode, deflate, embedded, api, plainReads, answers, ...limits } = options;
const answer = answerer(options);
const TEXT = { binary: false };

const handler: Handler<WebSocket> = {
  transportError: (_socket, error) => wrong(error),
  message(socket, data, isBinary) {
    if (mode === 'echo' && answers !== 'now') {
      answer(socket, api === 'views' ? Buffer.from(data) : data, isBinary);
    } else if (mode === 'echo') {
      if (isBinary) socket.send(data);
      else socket.send(data, TEXT);
    } else if (mode === 'broadcast') {
      server.broadcast(isBinary ? Buffer.from(data) : data.toString());
    }
  },
};
const http = embedded ? createServer() : undefined;
const server: WebSocketServer = new WebSocketServer({
  ...(http === undefined ? { port, host, backlog: 4096 } : { server: http }),
  ...(api === 'events' ? {} : { handler, views: api === 'views' }),
  perMessageDeflate: deflate,
  maxPayload: limits.maxPayload,
  maxFragments: limits.maxFragments,
  clientTracking: mode === 'broadcast',
  sharedReads: !plainReads,
});
if (api === 'events') {
  server.on('connection', (socket) => {
    socket.on('error', wrong);
    socket.on('message', (data, isBinary) => handler.message!(socket, data as Buffer, isBinary));
  });
}
http?.listen(port, host, 4096);
server.on('listening', () => listening('ws', host, portOf(http ?? server)));

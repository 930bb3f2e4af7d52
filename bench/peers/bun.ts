/** Bun's own server: uWebSockets below, and its publish for the broadcast. Run by bun. */
import { listening, MAX_MESSAGE, peerOptions } from './peer-options.ts';

const { port, host, mode, deflate, maxPayload } = await peerOptions();
const server = Bun.serve({
  port,
  hostname: host,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response('WebSocket only', { status: 426 });
  },
  websocket: {
    maxPayloadLength: maxPayload,
    backpressureLimit: MAX_MESSAGE * 4,
    idleTimeout: 0,
    perMessageDeflate: deflate,
    open(socket) {
      if (mode === 'broadcast') socket.subscribe('all');
    },
    message(socket, data) {
      if (mode === 'echo') socket.send(data, deflate);
      else if (mode === 'broadcast') server.publish('all', data, deflate);
    },
  },
});
listening('ws', host, server.port);

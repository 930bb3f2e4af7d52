/** The ws package on its own port, as its README has it. bufferutil is used unless WS_NO_BUFFER_UTIL is set. */
import { WebSocket, WebSocketServer } from 'ws';
import { listening, peerOptions, portOf } from './peer-options.ts';

const { port, host, mode, deflate, maxPayload, maxFragments, maxBufferedChunks } = await peerOptions();
const server = new WebSocketServer({
  port,
  host,
  perMessageDeflate: deflate,
  maxPayload,
  ...(maxFragments !== undefined && { maxFragments }),
  ...(maxBufferedChunks !== undefined && { maxBufferedChunks }),
  clientTracking: mode === 'broadcast',
  backlog: 4096,
});
server.on('listening', () => listening('ws', host, portOf(server)));
server.on('connection', (socket) => {
  socket.on('error', () => {});
  if (mode === 'echo') {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  } else if (mode === 'broadcast') {
    socket.on('message', (data, isBinary) => {
      for (const client of server.clients) {
        if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
      }
    });
  }
});

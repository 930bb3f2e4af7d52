/** The ws package on its own port, as its README has it. bufferutil is used unless WS_NO_BUFFER_UTIL is set. */
import { WebSocket, WebSocketServer } from 'ws';
import { answerer } from './answers.ts';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const options = await peerOptions();
const { port, host, mode, deflate, answers, maxPayload, maxFragments, maxBufferedChunks } = options;
const answer = answerer(options);
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
  socket.on('error', wrong);
  if (mode === 'echo' && answers !== 'now') {
    socket.on('message', (data, isBinary) => answer(socket, data as Buffer, isBinary));
  } else if (mode === 'echo') {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  } else if (mode === 'broadcast') {
    socket.on('message', (data, isBinary) => {
      for (const client of server.clients) {
        if (client.readyState === WebSocket.OPEN) client.send(data, { binary: isBinary });
      }
    });
  }
});

/** No protocol at all: bytes back as they came. What is left is Node's socket. */
import { createServer, type Socket } from 'node:net';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const { port, host, mode, greet } = await peerOptions();
const clients = new Set<Socket>();
const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', wrong);
  // A client's connect succeeds before this process has accepted it: it may begin when it sees this byte.
  if (greet) socket.write('\n');
  if (mode === 'echo') {
    socket.on('data', (chunk) => socket.write(chunk));
  } else if (mode === 'broadcast') {
    clients.add(socket);
    socket.on('close', () => clients.delete(socket));
    socket.on('data', (chunk) => {
      for (const client of clients) client.write(chunk);
    });
  } else {
    socket.resume();
  }
});
server.listen(port, host, 4096, () => listening('tcp', host, portOf(server)));

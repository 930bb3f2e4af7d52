/** faye-websocket on an http.Server: the only way it has. */
import { createServer } from 'node:http';
import FayeWebSocket from 'faye-websocket';
import { listening, peerOptions, portOf } from './peer-options.ts';
import { wrong } from './wrong.ts';

const { port, host, mode, deflate, maxPayload } = await peerOptions();
// Its compression is a package of its own.
const extensions = deflate ? [(await import('permessage-deflate')).default] : [];
const options = { maxLength: maxPayload, extensions };
const clients = new Set<FayeWebSocket>();
const server = createServer();
server.on('upgrade', (request, socket, head) => {
  socket.on('error', wrong);
  const client = new FayeWebSocket(request, socket, head, [], options);
  client.on('error', ({ message }: { message: string }) => wrong(new Error(message)));
  if (mode === 'echo') {
    client.on('message', (event: { data: string | Buffer }) => client.send(event.data));
  } else if (mode === 'broadcast') {
    clients.add(client);
    client.on('close', () => clients.delete(client));
    client.on('message', (event: { data: string | Buffer }) => {
      for (const other of clients) other.send(event.data);
    });
  }
});
server.listen(port, host, 4096, () => listening('ws', host, portOf(server)));

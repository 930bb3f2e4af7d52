/** sockjs-node below /sockjs, which the load generator reaches through its WebSocket transport. */
import { createServer } from 'node:http';
import { type Connection, createServer as createSockServer } from 'sockjs';
import { listening, peerOptions, portOf } from './peer-options.ts';

const { port, host, mode } = await peerOptions();
const clients = new Set<Connection>();
const sock = createSockServer({ log: () => {} });
sock.on('connection', (connection) => {
  if (!connection) return;
  if (mode === 'echo') {
    connection.on('data', (data: string) => connection.write(data));
  } else if (mode === 'broadcast') {
    clients.add(connection);
    connection.on('close', () => clients.delete(connection));
    connection.on('data', (data: string) => {
      for (const client of clients) client.write(data);
    });
  }
});
const server = createServer();
sock.installHandlers(server, { prefix: '/sockjs' });
server.listen(port, host, 4096, () => listening('ws', host, portOf(server)));

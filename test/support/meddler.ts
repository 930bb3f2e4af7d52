/** A proxy as companies have them: it passes HTTP on, and does to WebSockets and long answers what it is told. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Habits {
  /** What becomes of an upgrade. `swallow`: the handshake passes, no frame does. Default `pass`. */
  upgrades?: 'pass' | 'refuse' | 'swallow';
  /** Hold answers to `/xhr_streaming` back until they are complete. Default false. */
  holdsStreams?: boolean;
}

export interface Meddler {
  port: number;
  /** To be changed at will; counts for connections that begin from then on. */
  habits: Habits;
  /** First lines of all requests that began a connection. */
  requests: string[];
  /** Cuts every connection that is open. */
  cut(): void;
  close(): void;
}

export async function startMeddler(target: number, habits: Habits = {}): Promise<Meddler> {
  const sockets = new Set<Socket>();
  const meddler: Meddler = {
    port: 0,
    habits,
    requests: [],
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    close: () => {
      server.close();
      meddler.cut();
    },
  };
  const server = createServer((client) => {
    sockets.add(client);
    client.once('close', () => sockets.delete(client));
    client.on('error', () => {});
    client.once('data', (first) => pass(meddler, target, client, first));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  meddler.port = (server.address() as AddressInfo).port;
  return meddler;
}

function pass(meddler: Meddler, target: number, client: Socket, first: Buffer): void {
  const head = first.toString('latin1');
  const { upgrades = 'pass', holdsStreams = false } = meddler.habits;
  meddler.requests.push(head.slice(0, head.indexOf('\r\n')));
  const isUpgrade = /^upgrade: websocket/im.test(head);
  if (isUpgrade && upgrades === 'refuse') {
    client.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    return;
  }
  const server = connect(target, '127.0.0.1');
  server.on('error', () => client.destroy());
  server.once('close', () => client.destroy());
  client.once('close', () => server.destroy());
  // One request a connection, so that each is seen.
  server.write(
    isUpgrade
      ? first
      : head.replace(/^connection: .*\r\n/im, '').replace('\r\n', '\r\nConnection: close\r\n'),
    'latin1',
  );
  if (isUpgrade && upgrades === 'swallow') {
    server.once('data', (answer) => client.write(answer.subarray(0, answer.indexOf('\r\n\r\n') + 4)));
    client.resume();
    server.resume();
    return;
  }
  client.pipe(server);
  if (holdsStreams && head.includes('/xhr_streaming')) {
    const held: Buffer[] = [];
    server.on('data', (chunk) => held.push(chunk));
    server.once('end', () => client.end(Buffer.concat(held)));
  } else {
    server.pipe(client);
  }
}

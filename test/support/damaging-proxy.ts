/** A proxy before a server that puts bytes of the test's into what the server says. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { cleanups } from './cleanups.ts';

/** What can't be a row of PostgreSQL: a message of 6 bytes that has 32,767 columns. */
export const NO_ROW = Buffer.from('44000000067fff', 'hex');

export interface DamagingProxy {
  readonly port: number;
  /** Puts the bytes before what comes next over each connection that is open. */
  damage(bytes: Buffer): void;
  /** How many connections have had them. */
  readonly damaged: number;
}

/** Ends with the test. */
export async function startDamagingProxy(port: number): Promise<DamagingProxy> {
  const waiting = new Map<Socket, Buffer>();
  const clients = new Set<Socket>();
  let damaged = 0;
  const proxy = createServer((client) => {
    const server = connect(port, '127.0.0.1');
    clients.add(client);
    client.on('error', () => server.destroy()).on('close', () => server.destroy());
    client.on('close', () => clients.delete(client));
    server.on('error', () => client.destroy()).on('close', () => client.destroy());
    client.pipe(server);
    server.on('data', (chunk) => {
      const bytes = waiting.get(client);
      if (bytes !== undefined) {
        waiting.delete(client);
        damaged++;
        client.write(bytes);
      }
      client.write(chunk);
    });
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  cleanups.push(() => {
    proxy.close();
    for (const client of clients) client.destroy();
  });
  return {
    port: (proxy.address() as AddressInfo).port,
    damage: (bytes) => {
      for (const client of clients) waiting.set(client, bytes);
    },
    get damaged() {
      return damaged;
    },
  };
}

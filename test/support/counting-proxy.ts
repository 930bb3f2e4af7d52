/** A proxy before Redis that counts round trips: all that a connection says until it is answered is one. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface CountingProxy {
  url: string;
  /** The commands of each round trip, by their names; in the order in which they began. */
  trips: string[][];
  close(): Promise<void>;
}

/** The name of each command, which is the first string of its array. */
const NAMES = /\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g;

/** @param ignored what is written with a text like this counts as nothing */
export async function startCountingProxy(port: number, ignored?: RegExp): Promise<CountingProxy> {
  const sockets = new Set<Socket>();
  const trips: string[][] = [];
  const server = createServer((client) => {
    const redis = connect(port, '127.0.0.1');
    let trip: string[] | undefined;
    client.on('data', (chunk) => {
      redis.write(chunk);
      const text = chunk.toString('latin1');
      if (ignored?.test(text)) return;
      if (trip === undefined) {
        trip = [];
        trips.push(trip);
      }
      for (const [, name] of text.matchAll(NAMES)) trip.push(name!.toUpperCase());
    });
    redis.on('data', (chunk) => {
      trip = undefined;
      client.write(chunk);
    });
    for (const [one, other] of [
      [client, redis],
      [redis, client],
    ] as const) {
      sockets.add(one);
      one.on('error', () => {});
      one.on('close', () => other.destroy());
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    trips,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Opens many connections, some hundred at a time, spread over loopback addresses. */
import { Connection } from './connection.ts';
import type { Content } from './content.ts';
import type { Job } from './job.ts';

/** Below the listen backlog of every peer. */
const AT_A_TIME = 128;
const PER_ADDRESS = 10_000;

/** @param fail is told of the first error of any connection, also later ones */
export function connectAll(content: Content, job: Job, fail: (error: Error) => void): Promise<Connection[]> {
  return new Promise((resolve) => {
    const connections: Connection[] = [];
    let open = 0;
    const next = () => {
      if (connections.length >= job.conns) return;
      const index = connections.length;
      const connection = new Connection(content, {
        port: job.ports[index % job.ports.length]!,
        path: job.path,
        wire: job.wire,
        deflate: job.deflate,
        localAddress: sourceAddress(job.firstConnection + index),
        verify: job.deflate && index === 0,
      });
      connections.push(connection);
      connection.onError = fail;
      connection.onOpen = () => {
        open++;
        if (open === job.conns) resolve(connections);
        else next();
      };
    };
    for (let i = 0; i < Math.min(AT_A_TIME, job.conns); i++) next();
  });
}

/**
 * Undefined for the first, then one address after the other. Where there is none, connecting chooses the port:
 * binding an address looks for one that is free in every respect, which takes long among many in TIME_WAIT.
 */
function sourceAddress(index: number): string | undefined {
  return index < PER_ADDRESS ? undefined : `127.0.0.${1 + (Math.floor(index / PER_ADDRESS) % 250)}`;
}

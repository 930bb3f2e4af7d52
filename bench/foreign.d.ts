/**
 * What the benches use of packages that bring no types, or that only bench/package.json installs: the
 * project type-checks without them. Each is as narrow as its one use.
 */

declare module 'faye-websocket' {
  import type { EventEmitter } from 'node:events';
  import type { IncomingMessage } from 'node:http';
  import type { Duplex } from 'node:stream';

  export default class FayeWebSocket extends EventEmitter {
    static isWebSocket(request: IncomingMessage): boolean;
    constructor(
      request: IncomingMessage,
      socket: Duplex,
      head: Buffer,
      protocols?: string[],
      options?: { maxLength?: number; extensions?: unknown[] },
    );
    send(data: string | Buffer): boolean;
  }
}

declare module 'permessage-deflate' {
  const extension: unknown;
  export default extension;
}

declare module 'sockjs' {
  import type { EventEmitter } from 'node:events';
  import type { Server } from 'node:http';

  export interface Connection extends EventEmitter {
    write(data: string): boolean;
  }
  export interface SockServer extends EventEmitter {
    installHandlers(server: Server, options: { prefix: string }): void;
    on(event: 'connection', listener: (connection: Connection) => void): this;
  }
  export function createServer(options: { log?: (severity: string, line: string) => void }): SockServer;
}

declare module 'bufferutil' {
  const bufferUtil: { unmask(bytes: Uint8Array, key: Uint8Array): void };
  export default bufferUtil;
}

declare module 'ioredis' {
  import type { EventEmitter } from 'node:events';

  export class Redis extends EventEmitter {
    constructor(port: number, host: string, options?: { enableAutoPipelining?: boolean });
    publish(channel: string, message: string | Buffer): Promise<number>;
    subscribe(channel: string): Promise<number>;
    unsubscribe(channel: string): Promise<number>;
    pipeline(): {
      publish(channel: string, message: string): unknown;
      exec(): Promise<[error: Error | null, reply: unknown][] | null>;
    };
    disconnect(): void;
  }
}

declare module 'redis' {
  export interface Client {
    connect(): Promise<unknown>;
    publish(channel: string, message: string): Promise<number>;
    subscribe(channel: string, listener: (message: string) => void): Promise<void>;
    destroy(): void;
    on(event: 'error', listener: (error: Error) => void): unknown;
  }
  export function createClient(options: { url: string }): Client;
}

declare module '@socket.io/redis-adapter' {
  import type { Client } from 'redis';
  import type { ServerOptions } from 'socket.io';

  export function createAdapter(publisher: Client, subscriber: Client): NonNullable<ServerOptions['adapter']>;
}

declare module '@socket.io/redis-streams-adapter' {
  import type { Client } from 'redis';
  import type { ServerOptions } from 'socket.io';

  export function createAdapter(
    client: Client,
    options?: { maxLen?: number },
  ): NonNullable<ServerOptions['adapter']>;
}

/** Bun's global, as far as peers/bun.ts uses it. */
declare const Bun: {
  serve(options: {
    port: number;
    hostname: string;
    reusePort?: boolean;
    fetch(request: Request, server: BunServer): Response | undefined;
    websocket: {
      maxPayloadLength: number;
      backpressureLimit: number;
      idleTimeout: number;
      perMessageDeflate: boolean;
      open?(socket: BunSocket): void;
      message(socket: BunSocket, data: string | Uint8Array): void;
    };
  }): BunServer;
  gc(synchronous: boolean): void;
};
interface BunServer {
  readonly port: number;
  upgrade(request: Request): boolean;
  publish(topic: string, data: string | Uint8Array, compress?: boolean): number;
}
interface BunSocket {
  send(data: string | Uint8Array, compress?: boolean): number;
  subscribe(topic: string): void;
}

/** Deno's global, as far as peers/deno.ts uses it. */
declare const Deno: {
  serve(
    options: { port: number; hostname: string; onListen(address: { port: number }): void },
    handler: (request: Request) => Response,
  ): unknown;
  upgradeWebSocket(
    request: Request,
    options: { idleTimeout: number },
  ): { socket: WebSocket; response: Response };
};

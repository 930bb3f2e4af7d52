/**
 * The package `pg`, which speaks to PostgreSQL. Who has no PostgreSQL need not install it: it is loaded when it is asked for.
 */
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';

/** What a client is made with. */
export interface PgConfig {
  connectionString?: string;
  host?: string;
  port?: number;
  database?: string;
  user?: string;
  password?: string | (() => string | Promise<string>);
  ssl?: boolean | ConnectionOptions;
  application_name?: string;
  connectionTimeoutMillis?: number;
  keepAlive?: boolean;
  keepAliveInitialDelayMillis?: number;
  types?: { getTypeParser(oid: number, format?: string): (value: string) => unknown };
}

export interface PgQuery {
  name?: string;
  text: string;
  values?: unknown[];
}

/** What a client reads from and writes to. */
export interface PgConnection {
  readonly stream: { destroy(): void };
  /** Has it read what comes over a socket, or over TLS on one. */
  attachListeners(stream: Duplex): void;
}

/** As much of a client as is used here. */
export interface PgClient {
  readonly connection: PgConnection;
  connect(done: (error?: Error) => void): void;
  query(query: PgQuery, done: (error: Error | null, result: { rows: object[] }) => void): void;
  end(): Promise<void>;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'end' | 'drain', listener: () => void): void;
  on(event: 'notification', listener: (message: { channel: string; payload?: string }) => void): void;
}

export interface Pg {
  Client: new (config: PgConfig) => PgClient;
  types: { getTypeParser(oid: number, format?: string): (value: string) => unknown };
}

const NAME = 'pg';

/** @throws {Error} saying what to install */
export async function loadPg(name: string = NAME): Promise<Pg> {
  let module: Partial<Pg> & { default?: Partial<Pg> };
  try {
    // Not for bundlers, which would look for it where it was never installed.
    module = await import(/* webpackIgnore: true */ /* @vite-ignore */ name);
  } catch (error) {
    throw new Error(
      'PostgreSQL needs the package pg, which is not installed beside tidings: npm install pg',
      {
        cause: error,
      },
    );
  }
  const pg = module.Client === undefined ? module.default : module;
  if (typeof pg?.Client !== 'function' || typeof pg.types?.getTypeParser !== 'function') {
    throw new Error('the package pg is not one that tidings knows: npm install pg@8');
  }
  return pg as Pg;
}

/** Has a client that was just made lose its connection over what it can't read, where it would throw past all of the process. */
export function guard({ connection }: { readonly connection: PgConnection }): void {
  const { attachListeners } = connection;
  connection.attachListeners = (stream) => {
    Reflect.apply(attachListeners, connection, [stream]);
    for (const read of stream.listeners('data')) {
      stream.off('data', read as (bytes: Buffer) => void);
      stream.on('data', (bytes: Buffer) => {
        // What is left of the bytes that it could not read would be taken for the beginning of a message.
        if (stream.destroyed) return;
        try {
          read(bytes);
        } catch (error) {
          stream.destroy(error as Error);
        }
      });
    }
  };
}

/** The admin API of a push server, as `tidings serve` has it, and a server for it. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { adminApi, listenerOf } from '../../src/admin/api.ts';
import { adminRoutes, type RouteSettings } from '../../src/admin/routes.ts';
import { AdminTokens } from '../../src/admin/tokens.ts';
import type { Log } from '../../src/log-fields.ts';
import type { PushServer } from '../../src/push/index.ts';

export interface AdminSettings extends Partial<RouteSettings> {
  /** Default: one that may do everything, `T`. */
  tokens?: string[];
  rate?: number;
  log?: Log;
  addressOf?: (request: IncomingMessage) => string;
}

export function adminOf(
  push: PushServer,
  { tokens = ['T'], rate = 0, log, addressOf, maxBody = 1_000, ...settings }: AdminSettings = {},
): RequestListener {
  return listenerOf(
    adminApi({
      routes: adminRoutes(push, { maxBody, ...settings }),
      tokens: new AdminTokens(tokens, rate),
      ...(log && { log }),
      ...(addressOf && { addressOf }),
    }),
  );
}

/** Answers on a port of its own, until `close`. Connections stay, however long nobody asks. */
export async function serving(
  listener: RequestListener,
): Promise<{ url: string; port: number; close(): void }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  server.keepAliveTimeout = 0;
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port, close: () => server.close().closeAllConnections() };
}

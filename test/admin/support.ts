/** The admin API of a push server, as `tidings serve` has it. */
import type { IncomingMessage, RequestListener } from 'node:http';
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

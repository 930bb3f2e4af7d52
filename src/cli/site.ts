/** The HTTP side of `tidings serve`: the admin API and its page, the page's scripts, the demo; JSON 404 for the rest. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { type AdminApi, adminApi } from '../admin/api.ts';
import { HttpError, sendError } from '../admin/json-http.ts';
import { adminPage } from '../admin/page.ts';
import { probeRoutes } from '../admin/probes.ts';
import { type AdminTarget, adminRoutes } from '../admin/routes.ts';
import type { AdminTokens } from '../admin/tokens.ts';
import type { Log } from '../log-fields.ts';
import type { Family } from '../metrics/index.ts';
import { pageScripts } from '../page-scripts.ts';
import { askForUpgrade } from '../push/door/listeners.ts';
import { clientAddress, trustedProxies } from '../push/door/request.ts';
import { requestTarget } from '../server/request-target.ts';

export interface SiteParts {
  push: AdminTarget;
  tokens: AdminTokens;
  log: Log;
  /** Bytes of a request's body. */
  maxBody: number;
  /** Milliseconds for which the store may be away before /readyz says so. */
  storeGrace: number;
  /** Whether who follows a user is told what is sent. */
  showData: boolean;
  /** Whose X-Forwarded-For is believed. */
  proxies: readonly string[];
  /** Whether what is for operators has a port of its own. */
  hasAdminPort: boolean;
  /** What /metrics tells, where that is more than what this push server does. */
  metrics?: (() => Family[] | Promise<Family[]>) | undefined;
  /** The WebSocket's. */
  path: string;
  /** Is asked first; true where it has answered. */
  demo?: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

/** What is answered on the port that pages connect to, and what on that of operators, where there is one. */
export interface Sites {
  main: RequestListener;
  admin: RequestListener | undefined;
}

export function sites({
  push,
  tokens,
  log,
  maxBody,
  storeGrace,
  metrics,
  showData,
  hasAdminPort,
  ...parts
}: SiteParts): Sites {
  const proxies = trustedProxies(parts.proxies);
  const addressOf = (request: IncomingMessage): string => clientAddress(request, proxies);
  const all = adminApi({
    routes: adminRoutes(push, { maxBody, storeGrace, metrics, showData }),
    tokens,
    log,
    addressOf,
  });
  const page = adminPage();
  if (!hasAdminPort) return { main: site(all, { ...parts, page }), admin: undefined };
  return {
    main: site(adminApi({ routes: probeRoutes(push, storeGrace), tokens, log, addressOf }), parts),
    admin: (request, response) => {
      const { path } = requestTarget(request);
      if (all.has(path)) void all.listener(request, response);
      else if (!page(request, response)) notFound(response, path);
    },
  };
}

interface MainParts extends Pick<SiteParts, 'path' | 'demo'> {
  page?: ReturnType<typeof adminPage>;
}

/** Without what is for operators, `api` has only what load balancers ask. */
export function site(
  api: Pick<AdminApi, 'has' | 'listener'>,
  { path: socketPath, demo, page }: MainParts,
): RequestListener {
  const script = pageScripts();
  return (request, response) => {
    const { path } = requestTarget(request);
    if (demo?.(request, response) || page?.(request, response)) return;
    if (api.has(path)) void api.listener(request, response);
    else if (path === socketPath) askForUpgrade(request, response);
    else if (!isScript(request, response, script)) notFound(response, path);
  };
}

function notFound(response: ServerResponse, path: string): void {
  sendError(response, new HttpError(404, 'not_found', `there is nothing at ${path}`));
}

function isScript(
  request: IncomingMessage,
  response: ServerResponse,
  script: ReturnType<typeof pageScripts>,
): boolean {
  try {
    return script(request, response);
  } catch {
    // From the sources, before `npm run build`, there are no scripts.
    sendError(response, new HttpError(404, 'not_built', 'the script is made by `npm run build`'));
    return true;
  }
}

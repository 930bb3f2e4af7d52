/** The HTTP side of `tidings serve`: health, the page's scripts, the admin API, the demo; JSON 404 for the rest. */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { HttpError, sendError, sendJson } from '../admin/json-http.ts';
import { pageScripts } from '../page-scripts.ts';
import { askForUpgrade } from '../push/door/listeners.ts';
import { requestTarget } from '../server/request-target.ts';

export interface SiteParts {
  /** What /healthz says; 503 unless `ok`. */
  health(): { ok: boolean; [detail: string]: unknown };
  admin(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** The WebSocket's. */
  path: string;
  /** Is asked first; true where it has answered. */
  demo?: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

export function site({ health, admin, path: socketPath, demo }: SiteParts): RequestListener {
  const script = pageScripts();
  return (request, response) => {
    const { path } = requestTarget(request);
    if (demo?.(request, response)) return;
    if (path.startsWith('/api/')) {
      void admin(request, response);
    } else if (path === '/healthz') {
      if (!allows(request, response)) return;
      const state = health();
      sendJson(response, state.ok ? 200 : 503, state);
    } else if (path === socketPath) {
      askForUpgrade(response);
    } else if (!isScript(request, response, script)) {
      sendError(response, new HttpError(404, 'not_found', `there is nothing at ${path}`));
    }
  };
}

function allows(request: IncomingMessage, response: ServerResponse): boolean {
  if (request.method === 'GET' || request.method === 'HEAD') return true;
  const headers = { Allow: 'GET, HEAD' };
  sendError(response, new HttpError(405, 'method_not_allowed', 'this is only there to be read', headers));
  return false;
}

/** From the sources, before `npm run build`, there are no scripts. */
function isScript(
  request: IncomingMessage,
  response: ServerResponse,
  script: ReturnType<typeof pageScripts>,
): boolean {
  try {
    return script(request, response);
  } catch {
    sendError(response, new HttpError(404, 'not_built', 'the script is made by `npm run build`'));
    return true;
  }
}

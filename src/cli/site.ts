/** The HTTP side of `tidings serve`: health, the page's scripts, the admin API, the demo; JSON 404 for the rest. */
import { createHash } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { HttpError, sendError, sendJson } from '../admin/json-http.ts';
import { askForUpgrade } from '../push/door/listeners.ts';
import { requestTarget } from '../server/request-target.ts';
import { readPackageFile } from './package-file.ts';

/** The client, what it fetches where tabs share a connection, and the bell. */
const SCRIPTS = ['tidings.js', 'tidings-share.js', 'tidings-bell.js'];

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
  const scripts = new Map(SCRIPTS.map((name) => [`/${name}`, pageScript(name)]));
  return (request, response) => {
    const { path } = requestTarget(request);
    const script = scripts.get(path);
    if (demo?.(request, response)) return;
    if (path.startsWith('/api/')) {
      void admin(request, response);
    } else if (path === '/healthz') {
      if (!allows(request, response)) return;
      const state = health();
      sendJson(response, state.ok ? 200 : 503, state);
    } else if (script !== undefined) {
      if (allows(request, response)) script(request, response);
    } else if (path === socketPath) {
      askForUpgrade(response);
    } else {
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

/** A self-contained script for a <script> tag, as the build has made it. */
function pageScript(name: string): RequestListener {
  const body = builtScript(name);
  if (body === undefined)
    return (_, response) => {
      sendError(response, new HttpError(404, 'not_built', 'the script is made by `npm run build`'));
    };
  const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
  return (request, response) => {
    const headers = {
      'Content-Type': 'text/javascript; charset=utf-8',
      'Cache-Control': 'no-cache',
      ETag: etag,
    };
    if (request.headers['if-none-match'] === etag) {
      response.writeHead(304, headers).end();
      return;
    }
    response.writeHead(200, { ...headers, 'Content-Length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
}

/** Where the build has put it. */
function builtScript(name: string): Buffer | undefined {
  try {
    return readPackageFile(`dist/client/${name}`);
  } catch {
    return undefined;
  }
}

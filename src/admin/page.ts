/** The page for operators, `/admin`: three files without secrets. What it shows it asks the admin API for, with a token. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBeside } from '../beside.ts';
import { etagOf, isKnown } from '../server/etag.ts';
import { requestTarget } from '../server/request-target.ts';
import { HttpError, sendError } from './json-http.ts';

/** No script but its own, no markup made of text, nowhere to send anything to, and in nobody's frame. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  'img-src data:',
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-cache',
};

interface File {
  type: string;
  body: Buffer;
  etag: string;
}

/** @returns a handler that answers what is the page's, and returns false for all else */
export function adminPage(): (request: IncomingMessage, response: ServerResponse) => boolean {
  let files: Map<string, File> | undefined;
  return (request, response) => {
    const { path } = requestTarget(request);
    if (path !== '/admin' && !path.startsWith('/admin/')) return false;
    files ??= readFiles();
    const file = files.get(path);
    if (path === '/admin/') {
      // What it names is beside /admin.
      response.writeHead(308, { Location: '../admin', 'Content-Length': 0 }).end();
    } else if (file === undefined) {
      sendError(response, new HttpError(404, 'not_found', `there is nothing at ${path}`));
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      const headers = { Allow: 'GET, HEAD' };
      sendError(response, new HttpError(405, 'method_not_allowed', 'this is only there to be read', headers));
    } else answer(request, response, file);
    return true;
  };
}

function answer(request: IncomingMessage, response: ServerResponse, { type, body, etag }: File): void {
  const headers = { ...HEADERS, 'Content-Type': type, ETag: etag };
  if (isKnown(request, etag)) response.writeHead(304, headers).end();
  else {
    response.writeHead(200, { ...headers, 'Content-Length': body.length });
    response.end(request.method === 'HEAD' ? undefined : body);
  }
}

function readFiles(): Map<string, File> {
  const file = (type: string, body: Buffer): File => {
    return { type: `${type}; charset=utf-8`, body, etag: etagOf(body) };
  };
  return new Map([
    ['/admin', file('text/html', readBeside(new URL('page/page.html', import.meta.url)))],
    ['/admin/page.css', file('text/css', readBeside(new URL('page/page.css', import.meta.url)))],
    ['/admin/page.js', file('text/javascript', readBeside(new URL('page/page.js', import.meta.url)))],
  ]);
}

/** What the HTTP side of SockJS shares: CORS (Fetch standard §3.2), caching, the JSESSIONID cookie, 405 and 404. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answer } from './route.ts';

const YEAR = 31_536_000;

/** Sets what every answer below the prefix carries. */
export function cors(request: IncomingMessage, response: ServerResponse, isOpen: boolean): void {
  const { origin } = request.headers;
  if (origin !== undefined) {
    response.setHeader('Access-Control-Allow-Origin', origin);
    response.setHeader('Access-Control-Allow-Credentials', 'true');
    response.setHeader('Vary', 'Origin');
  } else if (isOpen) {
    response.setHeader('Access-Control-Allow-Origin', '*');
  }
}

/** Answers a preflight, to be cached for a year. */
export function preflight(request: IncomingMessage, response: ServerResponse, method: string): void {
  cacheForever(response);
  response.setHeader('Access-Control-Max-Age', YEAR);
  response.setHeader('Access-Control-Allow-Methods', `OPTIONS, ${method}`);
  const headers = request.headers['access-control-request-headers'];
  if (headers) response.setHeader('Access-Control-Allow-Headers', headers);
  response.writeHead(204).end();
}

export function cacheForever(response: ServerResponse): void {
  response.setHeader('Cache-Control', `public, max-age=${YEAR}`);
  response.setHeader('Expires', new Date(Date.now() + YEAR * 1000).toUTCString());
}

export function neverCache(response: ServerResponse): void {
  response.setHeader('Cache-Control', 'no-store, no-cache, no-transform, must-revalidate, max-age=0');
}

/** Echoes the cookie that load balancers stick to, or sets it. */
export function stickyCookie(request: IncomingMessage, response: ServerResponse): void {
  const value = /(?:^|;\s*)JSESSIONID=([\w!.~-]+)/.exec(request.headers.cookie ?? '')?.[1] ?? 'dummy';
  response.setHeader('Set-Cookie', `JSESSIONID=${value}; path=/`);
}

/** 405 without a body or a content type. */
export function methodNotAllowed(response: ServerResponse, allow: string): void {
  response.writeHead(405, { Allow: allow, 'Content-Length': 0 }).end();
}

export function notFound(response: ServerResponse): void {
  answer(response, 404, 'Not found.');
}

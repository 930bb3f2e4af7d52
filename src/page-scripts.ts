/**
 * `tidings/page-scripts`: the script files for pages, to be served by an application. They are in the code, not read from
 * files: they are there in a bundle, too, where nothing is beside it.
 *
 * @module tidings/page-scripts
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readBeside } from './beside.ts';
import { etagOf, isKnown } from './server/etag.ts';
import { requestTarget } from './server/request-target.ts';

/** The client, the same without SockJS and inbox, `<tidings-bell>`, and what `share: true` fetches. */
export type PageScriptName = 'tidings.js' | 'tidings-core.js' | 'tidings-bell.js' | 'tidings-share.js';

/** A script file for pages, as it is served. */
export interface PageScript {
  /** UTF-8. */
  body: Buffer;
  /** With its quotes, as the header wants it. */
  etag: string;
}

/** Where an application serves the scripts. */
export interface PageScriptsOptions {
  /** The path that the scripts are below. Default `/`: `tidings.js` is at `/tidings.js`. */
  prefix?: string;
}

const READ: Record<PageScriptName, () => Buffer> = {
  'tidings.js': () => readBeside(new URL('../dist/client/tidings.js', import.meta.url)),
  'tidings-core.js': () => readBeside(new URL('../dist/client/tidings-core.js', import.meta.url)),
  'tidings-bell.js': () => readBeside(new URL('../dist/client/tidings-bell.js', import.meta.url)),
  'tidings-share.js': () => readBeside(new URL('../dist/client/tidings-share.js', import.meta.url)),
};

/** The four names. */
export const pageScriptNames = Object.keys(READ) as readonly PageScriptName[];

const scripts = new Map<PageScriptName, PageScript>();

/**
 * One of the scripts.
 * @throws {TypeError} for a name that is none of the four
 */
export function pageScript(name: PageScriptName): PageScript {
  if (!Object.hasOwn(READ, name))
    throw new TypeError(`there is no script '${String(name)}'; there are ${pageScriptNames.join(', ')}`);
  let script = scripts.get(name);
  if (script === undefined) {
    const body = READ[name]();
    script = { body, etag: etagOf(body) };
    scripts.set(name, script);
  }
  return script;
}

/**
 * Answers requests for the scripts, and tells by its result whether it did: `if (scripts(request, response)) return;`.
 * A browser asks each time whether what it has is the newest (`no-cache` with an ETag), so that pages follow the server.
 * @throws {TypeError} where `prefix` does not begin with a slash
 */
export function pageScripts({
  prefix = '/',
}: PageScriptsOptions = {}): (request: IncomingMessage, response: ServerResponse) => boolean {
  if (!prefix.startsWith('/')) throw new TypeError(`prefix must begin with a slash, unlike '${prefix}'`);
  const folder = prefix.endsWith('/') ? prefix : `${prefix}/`;
  const names = new Map(pageScriptNames.map((name) => [folder + name, name]));
  return (request, response) => {
    const name = names.get(requestTarget(request).path);
    if (name === undefined) return false;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      const body = '{"error":"method_not_allowed","message":"this is only there to be read"}';
      response.writeHead(405, { Allow: 'GET, HEAD', 'Content-Type': 'application/json; charset=utf-8' });
      response.end(body);
      return true;
    }
    const { body, etag } = pageScript(name);
    const headers = {
      'Content-Type': 'text/javascript; charset=utf-8',
      'Cache-Control': 'no-cache',
      ETag: etag,
    };
    if (isKnown(request, etag)) {
      response.writeHead(304, headers).end();
    } else {
      response.writeHead(200, { ...headers, 'Content-Length': body.length });
      response.end(request.method === 'HEAD' ? undefined : body);
    }
    return true;
  };
}

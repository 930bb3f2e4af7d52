/**
 * `/iframe*.html`: the page that lets a page of another origin use transports of this one. It relays for
 * whoever frames it, so only allowed origins may.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { etagOf, isKnown } from '../server/etag.ts';
import { cacheForever } from './http.ts';

const PAGE = (clientUrl: string) => `<!DOCTYPE html>
<html>
<head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
  <script src="${clientUrl}"></script>
  <script>
    document.domain = document.domain;
    SockJS.bootstrap_iframe();
  </script>
</head>
<body>
  <h2>Don't panic!</h2>
  <p>This is a SockJS hidden iframe. It's used for cross domain magic.</p>
</body>
</html>`;

export class IframePage {
  readonly #body: string;
  readonly #etag: string;
  #ancestors: string | undefined;

  /**
   * @param clientUrl where the page finds sockjs-client, a path or an http(s) URL
   * @param origins who may frame the page; undefined is anyone
   * @throws {TypeError} for a URL that could break out of the page
   */
  constructor(clientUrl: string, origins: ReadonlySet<string> | undefined) {
    if (!/^(?:\/|https?:\/\/)[^"'<>\s\\]*$/.test(clientUrl)) {
      throw new TypeError(`sockjs clientUrl: ${JSON.stringify(clientUrl)} is no path and no http(s) URL`);
    }
    this.#body = PAGE(clientUrl);
    this.#etag = etagOf(this.#body);
    this.permit(origins);
  }

  /** Who may frame the page; undefined is anyone. */
  permit(origins: ReadonlySet<string> | undefined): void {
    // A policy has no form for the others.
    const listed = [...(origins ?? [])].filter((origin) => /:\/\/./.test(origin));
    this.#ancestors = origins && `frame-ancestors ${["'self'", ...listed].join(' ')}`;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    cacheForever(response);
    response.setHeader('ETag', this.#etag);
    if (this.#ancestors !== undefined) response.setHeader('Content-Security-Policy', this.#ancestors);
    if (isKnown(request, this.#etag)) {
      response.writeHead(304).end();
      return;
    }
    response.writeHead(200, {
      'Content-Type': 'text/html; charset=UTF-8',
      'Content-Length': Buffer.byteLength(this.#body),
    });
    response.end(this.#body);
  }
}

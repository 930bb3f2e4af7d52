/** A page that has the stock sockjs-client, and what its tests have in common. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Transports that the client offers for servers of any origin. */
export const ANY_ORIGIN = [
  'websocket',
  'xhr-streaming',
  'eventsource',
  'iframe-eventsource',
  'iframe-htmlfile',
  'xhr-polling',
  'iframe-xhr-polling',
  'jsonp-polling',
];
/** It offers htmlfile only where the server is of the page's own origin. */
export const TRANSPORTS = [...ANY_ORIGIN, 'htmlfile'];

export async function startPage(): Promise<{ http: Server; port: number }> {
  const script = readFileSync('node_modules/sockjs-client/dist/sockjs.min.js');
  const html =
    '<!doctype html><title>t</title><link rel="icon" href="data:,"><script src="/sockjs.min.js"></script><body>';
  const http = createServer((request, response) => {
    const isScript = request.url === '/sockjs.min.js';
    response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(isScript ? script : html);
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  return { http, port: (http.address() as AddressInfo).port };
}

/** U+0000 to U+FFFF but surrogates, in pieces of this many. */
export function everyCharacter(length: number): string[] {
  const pieces: string[] = [];
  for (let first = 0; first < 0x10000; first += length) {
    let piece = '';
    for (let code = first; code < first + length; code++)
      if (code < 0xd800 || code > 0xdfff) piece += String.fromCharCode(code);
    if (piece !== '') pieces.push(piece);
  }
  return pieces;
}

/** As UTF-8 carries it: what has no form there becomes U+FFFD. */
export const wellFormed = (text: string): string => Buffer.from(text).toString();

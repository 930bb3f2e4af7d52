/** What the application is told of a page when it is asked who that is: some of its headers, its query and its address. */
import { createHash, randomBytes } from 'node:crypto';
import { requestTarget } from '../../server/request-target.ts';
import type { HandshakeRequest } from '../../server/transport.ts';
import { formText, protocolTicket, TICKET_PARAMETER } from './request.ts';

export const DEFAULT_HEADERS: readonly string[] = ['cookie', 'origin'];
const MAX_HEADERS = 32;

/**
 * What is between a page and us only, what HTTP needs for itself, and what others would take for said by us. With `_` for
 * `-`, too, which many servers take for the same.
 */
const NEVER = [
  /^(?:connection|keep-alive|proxy-.*|te|trailers?|transfer-encoding|upgrade|http2-settings|host|expect)$/,
  /^(?:content-.*|accept|accept-encoding|range|if-.*|sec-websocket-.*)$/,
  /^(?:via|forwarded|x-forwarded.*|x-envoy-.*|x-original-.*|x-rewrite-.*|x-(?:http-)?method.*)$/,
  /^(?:.*client-ip|x-real-ip|.*connecting-ip|x-remote-.*|remote-.*|x-appengine-.*|x-azure-.*)$/,
];
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
/** What Node sends in a header. */
const VALUE = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;
/** Longer than any that a subprotocol could bring. */
const MAX_TICKET = 8192;
/** What SockJS clients add to the address of each request: the time, and where the answer goes. */
const SOCKJS_REQUEST = /\/(?:xhr|xhr_streaming|eventsource|htmlfile|jsonp)$/;
const SOCKJS_PARAMETER = /^(?:t=\d+|(?:c|callback)=.*)$/;

export interface Question {
  /** What the page has in its own, without what the application's address says already. */
  query: string;
  headers: Record<string, string>;
  /** The same for the same question, and nothing can be learned from it. */
  key: string;
}

/** @throws {TypeError} for what may not be passed on */
export function checkedHeaders(names: readonly string[]): string[] {
  if (!Array.isArray(names) || names.length > MAX_HEADERS) {
    throw new TypeError(`headers is a list of at most ${MAX_HEADERS} names`);
  }
  return names.map((given) => {
    const name = String(given).toLowerCase();
    if (!TOKEN.test(name)) throw new TypeError(`headers: ${JSON.stringify(given)} is no header's name`);
    const plain = name.replaceAll('_', '-');
    if (NEVER.some((pattern) => pattern.test(plain))) {
      throw new TypeError(
        `headers: ${name} is not passed on: it says nothing of a page that the application could believe`,
      );
    }
    return name;
  });
}

export class Questions {
  readonly #path: string;
  /** Names of the parameters that the application's address has itself, as `plainName` writes them. */
  readonly #own: ReadonlySet<string>;
  readonly #headers: readonly string[];
  readonly #authorization: string | undefined;
  /** So that two applications have no key in common, and nobody can tell from a key what was asked. */
  readonly #salt = randomBytes(16).toString('hex');

  /** @param headers of `checkedHeaders` */
  constructor(url: URL, headers: readonly string[], authorization: string | undefined) {
    this.#path = url.pathname + url.search;
    this.#own = new Set(url.search.slice(1).split('&').map(plainName));
    this.#headers = headers;
    this.#authorization = authorization;
  }

  /** @returns undefined for a page of whom it can't be asked, as it has said what HTTP has no form of */
  of(request: HandshakeRequest, address: string): Question | undefined {
    const headers: Record<string, string> = {
      accept: 'application/json',
      'accept-encoding': 'identity',
      'user-agent': 'tidings',
    };
    for (const name of this.#headers) {
      const value = request.headers[name];
      if (value !== undefined) headers[name] = String(value);
    }
    if (this.#authorization !== undefined) headers['authorization'] = this.#authorization;
    if (address !== '') headers['x-forwarded-for'] = address;
    if (!Object.values(headers).every((value) => VALUE.test(value))) return undefined;
    // The application finds it where it would be without subprotocols.
    const ticket = protocolTicket(request);
    const pairs = pairsOf(request);
    return this.#ask(ticket === undefined ? pairs : withTicket(pairs, ticket), headers);
  }

  /** The same of a page that shows another ticket; undefined for what is none. */
  with(ticket: string, { query, headers }: Question): Question | undefined {
    if (ticket === '' || ticket.length > MAX_TICKET) return undefined;
    return this.#ask(withTicket(query === '' ? [] : query.split('&'), ticket), headers);
  }

  /** Path and query of the request. */
  targetOf({ query }: Question): string {
    if (query === '') return this.#path;
    return `${this.#path}${this.#path.includes('?') ? '&' : '?'}${query}`;
  }

  /** A page can't say again what the application's address says already. */
  #ask(pairs: string[], headers: Record<string, string>): Question {
    const query = pairs.filter((pair) => !this.#own.has(plainName(pair))).join('&');
    const key = createHash('sha256')
      .update(JSON.stringify([this.#salt, query, headers]))
      .digest('base64url');
    return { query, headers, key };
  }
}

function pairsOf(request: HandshakeRequest): string[] {
  const { path, query } = requestTarget(request);
  const isSockJs = SOCKJS_REQUEST.test(path);
  return query
    .split('&')
    .filter((pair) => pair !== '' && !(isSockJs && SOCKJS_PARAMETER.test(pair)))
    .map(visible);
}

function withTicket(pairs: string[], ticket: string): string[] {
  return [
    ...pairs.filter((pair) => plainName(pair) !== TICKET_PARAMETER),
    `${TICKET_PARAMETER}=${encodeURIComponent(Buffer.from(ticket).toString())}`,
  ];
}

/** As bytes that a request's line may have. What was encoded stays so: two names that differ must not become one. */
function visible(pair: string): string {
  const bytes = Buffer.from(pair, /^[\u0000-\u00ff]*$/.test(pair) ? 'latin1' : 'utf8');
  let text = '';
  for (const byte of bytes) {
    // A semicolon parts parameters, too, for some.
    const isPlain = byte > 0x20 && byte < 0x7f && byte !== 0x23 && byte !== 0x3b;
    text += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

/** What the name of a parameter may become for an application: frameworks fold case, dots and brackets. */
function plainName(pair: string): string {
  const encoded = pair.split('=', 1)[0]!;
  const name = formText(encoded) ?? encoded;
  return name.trimStart().split('[', 1)[0]!.toLowerCase().replace(/[. ]/g, '_');
}

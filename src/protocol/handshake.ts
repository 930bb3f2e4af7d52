/** The opening handshake of RFC 6455 §4, both sides, on heads that somebody else has read or will send. */
import { hash, randomBytes } from 'node:crypto';
import { HandshakeError } from './errors.ts';
import { type ExtensionOffer, parseExtensions } from './extension.ts';
import { hasToken, isToken, splitList } from './token.ts';

/** Header lines as node:http gives them: lower-case names, duplicates joined or listed. */
export type HeaderFields = Readonly<Record<string, string | string[] | undefined>>;

/** As much of a request as is looked at: one of node:http has it. */
export interface OpeningRequest {
  /** Must be GET; not checked where it is missing. */
  readonly method?: string | undefined;
  /** `1.1`, for example. Not checked where it is missing. */
  readonly httpVersion?: string | undefined;
  /** The header lines. */
  readonly headers: HeaderFields;
}

/** What a valid request asks for. */
export interface ParsedRequest {
  /** The value of Sec-WebSocket-Key, for `formatResponse`. Empty where HTTP/2 came without. */
  key: string;
  /** 13 is the standard; 8 differs in nothing that is handled here. */
  version: 13 | 8;
  /** In the client's order of preference. */
  protocols: string[];
  /** In the client's order of preference; empty where it offers none. */
  extensions: ExtensionOffer[];
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
/** 16 bytes as base64 (§4.1). */
const keyPattern = /^[+/0-9A-Za-z]{22}==$/;

/** The value of Sec-WebSocket-Accept for a key (§4.2.2, step 5.4). */
export function acceptKey(key: string): string {
  return hash('sha1', key + GUID, 'base64');
}

/**
 * Whether a request asks for a WebSocket at all. Any other upgrade may be ignored, and one in HTTP/1.0 must be
 * (RFC 9110 §7.8): the request is then answered as if it had not asked.
 */
export function asksForWebSocket({ httpVersion, headers }: OpeningRequest): boolean {
  return (
    (httpVersion === undefined || Number(httpVersion) >= 1.1) &&
    hasToken(joined(headers['connection']) ?? '', 'upgrade') &&
    hasToken(joined(headers['upgrade']) ?? '', 'websocket')
  );
}

/** Whether a body follows the head (RFC 9112 §6.3). */
export function hasBody(headers: HeaderFields): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;
}

/**
 * Checks a client's request (§4.2.1).
 *
 * @throws {HandshakeError} with the status to answer: 405 for another method than GET, 426 for a version
 * that isn't spoken here, 400 for everything else. Its headers are to be sent along.
 */
export function parseRequest(request: OpeningRequest): ParsedRequest {
  const { method, httpVersion, headers } = request;
  if (method !== 'GET') throw new HandshakeError('Invalid HTTP method', 405, { Allow: 'GET' });
  if (httpVersion !== undefined && Number(httpVersion) < 1.1) {
    throw new HandshakeError('The opening handshake needs HTTP/1.1', 400);
  }
  const upgrade = joined(headers['upgrade']);
  if (upgrade === undefined || !hasToken(upgrade, 'websocket')) {
    throw new HandshakeError('Invalid Upgrade header', 400);
  }
  const connection = joined(headers['connection']);
  if (connection === undefined || !hasToken(connection, 'upgrade')) {
    throw new HandshakeError('Invalid Connection header', 400);
  }
  // Its bytes would be taken for frames.
  if (hasBody(headers)) throw new HandshakeError('The opening handshake has no body', 400);
  const key = joined(headers['sec-websocket-key']);
  if (key === undefined || !keyPattern.test(key)) {
    throw new HandshakeError('Missing or invalid Sec-WebSocket-Key header', 400);
  }
  return { key, ...parseOffer(headers) };
}

/** Whether a request of HTTP/2 asks for a WebSocket (RFC 8441 §4). */
export function connectsWebSocket({ method, headers }: OpeningRequest): boolean {
  return method === 'CONNECT' && joined(headers[':protocol'])?.toLowerCase() === 'websocket';
}

/**
 * Checks a client's request on a stream of HTTP/2 (RFC 8441 §5), which `connectsWebSocket`. It needs no key; where one
 * came, it is answered.
 *
 * @param hasEnded whether the client has said that it will send nothing
 * @throws {HandshakeError} as `parseRequest`
 */
export function parseConnect({ headers }: OpeningRequest, hasEnded: boolean): ParsedRequest {
  if (hasEnded) throw new HandshakeError('The stream has ended with the request', 400);
  // Node would reset the stream with the frame that goes beyond it.
  if (headers['content-length'] !== undefined) {
    throw new HandshakeError('The opening handshake has no body', 400);
  }
  if (!joined(headers[':path'])?.startsWith('/') || !joined(headers[':scheme'])) {
    throw new HandshakeError('An extended CONNECT needs :scheme and :path', 400);
  }
  return { key: joined(headers['sec-websocket-key']) ?? '', ...parseOffer(headers) };
}

function parseOffer(headers: HeaderFields): Omit<ParsedRequest, 'key'> {
  return {
    version: parseVersion(joined(headers['sec-websocket-version'])),
    protocols: parseProtocols(joined(headers['sec-websocket-protocol'])),
    extensions: parseOffers(joined(headers['sec-websocket-extensions'])),
  };
}

/** What `formatResponse` writes. */
export interface ResponseParts {
  /** The request's Sec-WebSocket-Key. */
  key: string;
  /** One of the request's subprotocols. */
  protocol?: string | undefined;
  /** The value of Sec-WebSocket-Extensions. */
  extensions?: string | undefined;
  /** More header lines: pairs, or whole lines without their end (`Name: value`). */
  headers?: Iterable<readonly [string, string] | string> | undefined;
}

/**
 * The head of the 101 response, to its empty line (§4.2.2, step 5).
 *
 * @throws {TypeError} where a part would end its line, so that nothing can be smuggled in
 */
export function formatResponse(parts: ResponseParts): string {
  return formatLines(responseLines(parts));
}

/**
 * The lines of the 101 response, without their ends; more may be added before `formatLines`.
 *
 * @throws {TypeError} for a subprotocol or a header's name that can't be one
 */
export function responseLines({ key, protocol, extensions, headers }: ResponseParts): string[] {
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${acceptKey(key)}`,
  ];
  addAgreed(lines, protocol, extensions);
  if (headers !== undefined) {
    for (const header of headers) lines.push(headerLine(header));
  }
  return lines;
}

/**
 * The same on a stream of HTTP/2, where 200 says that the stream is a WebSocket from now on (RFC 8441 §5).
 *
 * @throws {TypeError} for a subprotocol that can't be one
 */
export function connectLines({ key, protocol, extensions }: ResponseParts): string[] {
  const lines = ['HTTP/2 200'];
  // Nobody needs it, but undici 7 does.
  if (key) lines.push(`Sec-WebSocket-Accept: ${acceptKey(key)}`);
  addAgreed(lines, protocol, extensions);
  return lines;
}

function addAgreed(lines: string[], protocol: string | undefined, extensions: string | undefined): void {
  if (protocol) {
    if (!isToken(protocol)) throw new TypeError('A subprotocol must be a token (RFC 6455 §4.1)');
    lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
  }
  if (extensions) lines.push(`Sec-WebSocket-Extensions: ${extensions}`);
}

/**
 * Header lines as fields for HTTP/2, without the first line; those that mean only one connection are left out, as HTTP/2
 * forbids them (RFC 9113 §8.2.2). Several of one name are one (RFC 9110 §5.3), but for cookies: Node refuses several where
 * it knows that there should be one.
 *
 * @throws {TypeError} for a line that is none
 */
export function fieldsOf(lines: readonly string[]): Record<string, string | string[]> {
  const fields: Record<string, string | string[]> = Object.create(null);
  for (const line of lines.slice(1)) {
    const checked = headerLine(line);
    const colon = checked.indexOf(':');
    const name = checked.slice(0, colon).toLowerCase();
    if (isOfConnection(name)) continue;
    const value = checked.slice(colon + 1).trim();
    const before = fields[name];
    if (name === 'set-cookie') fields[name] = [before ?? [], value].flat();
    else fields[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return fields;
}

/** Whether a field, by its name in lower case, means only one connection of HTTP/1.1. */
export function isOfConnection(name: string): boolean {
  return /^(?:connection|upgrade|keep-alive|proxy-connection|te|transfer-encoding|http2-settings)$/.test(
    name,
  );
}

/** @throws {TypeError} for a line that holds what would end it */
export function formatLines(lines: readonly string[]): string {
  let head = '';
  for (const line of lines) {
    if (!isFieldValue(line)) throw new TypeError(`Not a header line: ${JSON.stringify(line)}`);
    head += `${line}\r\n`;
  }
  return `${head}\r\n`;
}

/** What `createRequest` writes. */
export interface RequestParts {
  /** In order of preference. */
  protocols?: readonly string[] | undefined;
  /** The value of Sec-WebSocket-Extensions. */
  extensions?: string | undefined;
  /** Default 13. */
  version?: 13 | 8 | undefined;
}

/**
 * A client's header lines, without Host (§4.1), with a new random key.
 *
 * @throws {SyntaxError} for a subprotocol that is no token or comes twice
 */
export function createRequest({ protocols = [], extensions, version = 13 }: RequestParts = {}): {
  key: string;
  headers: Record<string, string>;
} {
  const key = randomBytes(16).toString('base64');
  const headers: Record<string, string> = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': String(version),
    'Sec-WebSocket-Key': key,
  };
  if (protocols.length > 0) {
    // Not `every`, which leaves out the holes of an array.
    const areTokens = Array.from(protocols).every((each) => typeof each === 'string' && isToken(each));
    if (!areTokens || new Set(protocols).size !== protocols.length) {
      throw new SyntaxError('An invalid or duplicated subprotocol was specified');
    }
    headers['Sec-WebSocket-Protocol'] = protocols.join(',');
  }
  if (extensions) headers['Sec-WebSocket-Extensions'] = fieldValue(extensions);
  return { key, headers };
}

/** As much of a response as is looked at: one of node:http has it, with `status` for `statusCode`. */
export interface OpeningResponse {
  /** The HTTP status. */
  readonly status: number;
  /** The header lines. */
  readonly headers: HeaderFields;
}

/** What the client had asked for. */
export interface Offered {
  /** Subprotocols. Default: none. */
  readonly protocols?: readonly string[] | undefined;
  /** Names of extensions. */
  readonly extensions?: readonly string[] | undefined;
}

/**
 * Checks the server's response (§4.1, the list at its end).
 *
 * @returns the subprotocol, empty for none, and the extensions that the server agreed to
 * @throws {HandshakeError} if the connection must be failed
 */
export function parseResponse(
  response: OpeningResponse,
  key: string,
  offered: Offered = {},
): { protocol: string; extensions: ExtensionOffer[] } {
  const { status, headers } = response;
  const failed = (message: string): HandshakeError => new HandshakeError(message, status);
  if (status !== 101) throw failed(`Unexpected server response: ${status}`);
  if (joined(headers['upgrade'])?.toLowerCase() !== 'websocket') throw failed('Invalid Upgrade header');
  if (!hasToken(joined(headers['connection']) ?? '', 'upgrade')) throw failed('Invalid Connection header');
  if (joined(headers['sec-websocket-accept']) !== acceptKey(key)) {
    throw failed('Invalid Sec-WebSocket-Accept header');
  }

  return agreedOn(headers, offered, failed);
}

/**
 * Checks the server's response on a stream of HTTP/2 (RFC 8441 §5), where any status of success is a yes.
 *
 * @returns as `parseResponse`
 * @throws {HandshakeError} if the connection must be failed
 */
export function parseConnectResponse(
  { status, headers }: OpeningResponse,
  offered: Offered = {},
): { protocol: string; extensions: ExtensionOffer[] } {
  const failed = (message: string): HandshakeError => new HandshakeError(message, status);
  if (status < 200 || status > 299) throw failed(`Unexpected server response: ${status}`);
  return agreedOn(headers, offered, failed);
}

function agreedOn(
  headers: HeaderFields,
  offered: Offered,
  failed: (message: string) => HandshakeError,
): { protocol: string; extensions: ExtensionOffer[] } {
  const protocol = joined(headers['sec-websocket-protocol']);
  const protocols = offered.protocols ?? [];
  if (protocol === undefined) {
    if (protocols.length > 0) throw failed('Server sent no subprotocol');
  } else if (protocols.length === 0) {
    throw failed('Server sent a subprotocol but none was requested');
  } else if (!protocols.includes(protocol)) {
    throw failed('Server sent an invalid subprotocol');
  }

  const extensions = parseAnswer(joined(headers['sec-websocket-extensions']), offered, failed);
  return { protocol: protocol ?? '', extensions };
}

function parseVersion(version: string | undefined): 13 | 8 {
  if (version === '13') return 13;
  if (version === '8') return 8;
  // §4.4: what is spoken here, so that the client can try again.
  const spoken = { 'Sec-WebSocket-Version': '13, 8' };
  if (version !== undefined && /^[0-9]{1,3}$/.test(version)) {
    throw new HandshakeError(`Sec-WebSocket-Version ${version} is not supported`, 426, {
      ...spoken,
      Upgrade: 'websocket',
    });
  }
  throw new HandshakeError('Missing or invalid Sec-WebSocket-Version header', 400, spoken);
}

function parseProtocols(header: string | undefined): string[] {
  if (header === undefined) return [];
  const protocols = splitList(header);
  if (!protocols.every(isToken) || new Set(protocols).size !== protocols.length) {
    throw new HandshakeError('Invalid Sec-WebSocket-Protocol header', 400);
  }
  return protocols;
}

function parseOffers(header: string | undefined): ExtensionOffer[] {
  if (header === undefined) return [];
  try {
    return parseExtensions(header);
  } catch {
    throw new HandshakeError('Invalid or unacceptable Sec-WebSocket-Extensions header', 400);
  }
}

function parseAnswer(
  header: string | undefined,
  { extensions: names = [] }: Offered,
  failed: (message: string) => HandshakeError,
): ExtensionOffer[] {
  if (header === undefined) return [];
  if (names.length === 0) {
    throw failed('Server sent a Sec-WebSocket-Extensions header but no extension was requested');
  }
  let answer: ExtensionOffer[];
  try {
    answer = parseExtensions(header);
  } catch {
    throw failed('Invalid Sec-WebSocket-Extensions header');
  }
  const seen = new Set<string>();
  for (const { name } of answer) {
    if (!names.includes(name)) throw failed('Server indicated an extension that was not requested');
    if (seen.has(name)) throw failed('Invalid Sec-WebSocket-Extensions header');
    seen.add(name);
  }
  return answer;
}

function joined(field: string | string[] | undefined): string | undefined {
  return Array.isArray(field) ? field.join(', ') : field;
}

function headerLine(header: readonly [string, string] | string): string {
  if (typeof header !== 'string') {
    if (!isToken(header[0])) throw new TypeError(`Not a header name: ${JSON.stringify(header[0])}`);
    return `${header[0]}: ${fieldValue(header[1])}`;
  }
  const colon = header.indexOf(':');
  if (!isToken(header.slice(0, Math.max(colon, 0)))) {
    throw new TypeError(`Not a header line: ${JSON.stringify(header)}`);
  }
  return fieldValue(header);
}

/** The value as it is, if it is one. */
function fieldValue(value: string): string {
  if (!isFieldValue(value)) throw new TypeError(`Not a header value: ${JSON.stringify(value)}`);
  return value;
}

/** No control characters but tabs (RFC 9110 §5.5), and nothing past latin1, of which one could become one. */
function isFieldValue(value: unknown): boolean {
  return typeof value === 'string' && !/[^\t\x20-\x7e\x80-\xff]/.test(value);
}

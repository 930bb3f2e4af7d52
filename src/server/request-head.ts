/**
 * Reads the head of an HTTP/1.1 request (RFC 9112 §2–§5), for the listener that has no node:http. Strict, in
 * linear time, bounded; no socket.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { GatheredBytes } from './gathered-bytes.ts';

/** The request is to be answered with `status` and the connection closed. */
export class RequestHeadError extends Error {
  override readonly name = 'RequestHeadError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface RequestHead {
  method: string;
  /** The request target as it came. */
  url: string;
  /** `1.0` or `1.1`. */
  httpVersion: string;
  /** Lower-case names, duplicates as node:http has them. No prototype. */
  headers: IncomingHttpHeaders;
  /** Names and values in turn, as they came. */
  rawHeaders: string[];
}

export interface RequestHeadLimits {
  /**
   * Bytes of the whole head, which the request line alone may fill. Default 16384, of which the request line
   * may have 8192.
   */
  maxHeadBytes?: number | undefined;
  /** Default 100. */
  maxHeadFields?: number | undefined;
}

/** Bytes. */
const DEFAULT_HEAD = 16 * 1024;
const DEFAULT_REQUEST_LINE = 8 * 1024;
const END = '\r\n\r\n';
const CR = 0x0d;
const LF = 0x0a;

const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What may stand in a field's value (RFC 9110 §5.5). No line ends: those would be another field. */
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;
/** A path, an asterisk, an address, or the authority of a CONNECT (RFC 9112 §3.2). */
const targetPattern = /^(?:\/|\*$|[a-z][a-z0-9+.-]*:)[\x21-\x7e\x80-\xff]*$/i;
/** No userinfo, no path: two readers could see two hosts (RFC 9112 §3.2). */
const hostPattern = /^[^\t "#/<>?@\\]*$/;

/** Of these node:http keeps the first, and drops what comes after. */
const keptOnce = new Set([
  'age',
  'authorization',
  'content-type',
  'etag',
  'expires',
  'from',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
]);
/** A request with two of these means different things to different readers (RFC 9112 §3.2, §6.3). */
const never2 = new Set(['host', 'content-length', 'sec-websocket-key', 'sec-websocket-version']);

/** Feed it every chunk until it returns a head. */
export class RequestHeadReader {
  readonly #maxHeadBytes: number;
  readonly #maxHeadFields: number;
  readonly #maxLine: number;
  /** What has come, as long as the head is not complete. */
  readonly #gathered = new GatheredBytes();
  /** The request line's end was seen where it may be. */
  #isLineShort = false;
  /** After a head: what came behind it. */
  rest: Buffer = Buffer.alloc(0);

  constructor({ maxHeadBytes, maxHeadFields = 100 }: RequestHeadLimits = {}) {
    this.#maxHeadBytes = maxHeadBytes ?? DEFAULT_HEAD;
    this.#maxHeadFields = maxHeadFields;
    this.#maxLine = maxHeadBytes ?? DEFAULT_REQUEST_LINE;
  }

  /**
   * @returns the head once it is complete
   * @throws {RequestHeadError} 400, 414, 431 or 505
   */
  read(chunk: Buffer): RequestHead | undefined {
    const before = this.#gathered.length;
    if (before > 0) this.#gathered.append(chunk);
    const bytes = before > 0 ? this.#gathered.bytes : chunk;
    const { length } = bytes;
    if (length === 0) return undefined;
    checkBeginning(bytes[0]!);
    // The end may have begun in the chunk before.
    const end = bytes.indexOf(END, Math.max(0, before - END.length + 1), 'latin1');
    const isTooLarge = (end === -1 ? length : end + END.length) > this.#maxHeadBytes;
    if (isTooLarge || length > this.#maxLine) this.#checkLine(bytes);
    if (isTooLarge) throw new RequestHeadError(431, 'The header fields are too large');
    if (end === -1) {
      if (before === 0) this.#gathered.append(chunk);
      return undefined;
    }
    this.rest = chunk.subarray(end + END.length - before);
    const text = bytes.toString('latin1', 0, end);
    this.#gathered.clear();
    return parse(text, this.#maxHeadFields);
  }

  #checkLine(bytes: Buffer): void {
    if (this.#isLineShort) return;
    // From 2 on, as an empty line may come before.
    const end = bytes.indexOf(LF, 2);
    if (end === -1 || end > this.#maxLine) throw new RequestHeadError(414, 'The request line is too long');
    this.#isLineShort = true;
  }
}

/** A method begins with a letter, and nothing else begins a request: garbage is told at its first byte. */
function checkBeginning(byte: number): void {
  const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  if (!isLetter && byte !== CR) throw new RequestHeadError(400, 'Not an HTTP request');
}

function parse(head: string, maxHeadFields: number): RequestHead {
  // RFC 9112 §2.2: one empty line before the request line is ignored.
  let at = head.startsWith('\r\n') ? 2 : 0;
  let end = lineEnd(head, at);
  const { method, url, httpVersion } = parseRequestLine(head.slice(at, end));
  const headers: Record<string, string | string[] | undefined> = Object.create(null);
  const rawHeaders: string[] = [];
  for (at = end + 2; at < head.length; at = end + 2) {
    end = lineEnd(head, at);
    if (rawHeaders.length >= 2 * maxHeadFields) throw new RequestHeadError(431, 'Too many header fields');
    const colon = head.indexOf(':', at);
    // Space before the colon, and lines that begin with space (folding), both are how requests are smuggled
    // (RFC 9112 §5.1, §5.2); neither is a token.
    const name = head.slice(at, colon === -1 || colon > end ? end : colon);
    if (colon === -1 || colon > end || !tokenPattern.test(name)) {
      throw new RequestHeadError(400, 'Invalid header field');
    }
    const value = trim(head, colon + 1, end);
    if (!valuePattern.test(value)) throw new RequestHeadError(400, 'Invalid header value');
    rawHeaders.push(name, value);
    addHeader(headers, name.toLowerCase(), value);
  }
  const host = headers['host'] as string | undefined;
  if (host === undefined ? httpVersion === '1.1' : !hostPattern.test(host)) {
    throw new RequestHeadError(400, 'Missing or invalid Host header');
  }
  checkFraming(headers);
  return { method, url, httpVersion, headers, rawHeaders };
}

/** Nobody may be in doubt about where the request ends (RFC 9112 §6.1, §6.3). */
function checkFraming(headers: IncomingHttpHeaders): void {
  const length = headers['content-length'];
  const coding = headers['transfer-encoding'];
  if (length !== undefined && (coding !== undefined || !/^[0-9]{1,15}$/.test(length))) {
    throw new RequestHeadError(400, 'Invalid Content-Length header');
  }
  if (coding !== undefined && !/(?:^|,)[\t ]*chunked$/i.test(coding)) {
    throw new RequestHeadError(400, 'Invalid Transfer-Encoding header');
  }
}

function parseRequestLine(line: string): { method: string; url: string; httpVersion: string } {
  const first = line.indexOf(' ');
  const last = line.lastIndexOf(' ');
  const method = line.slice(0, Math.max(0, first));
  const url = line.slice(first + 1, Math.max(first + 1, last));
  const version = line.slice(last + 1);
  if (!tokenPattern.test(method) || !targetPattern.test(url) || !/^HTTP\/\d\.\d$/.test(version)) {
    throw new RequestHeadError(400, 'Invalid request line');
  }
  const httpVersion = version.slice(5);
  if (httpVersion !== '1.1' && httpVersion !== '1.0') {
    throw new RequestHeadError(505, 'Only HTTP/1.1 is spoken here');
  }
  return { method, url, httpVersion };
}

function lineEnd(head: string, from: number): number {
  const end = head.indexOf('\r\n', from);
  return end === -1 ? head.length : end;
}

function trim(head: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isSpace(head.charCodeAt(start))) start++;
  while (end > start && isSpace(head.charCodeAt(end - 1))) end--;
  return head.slice(start, end);
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function addHeader(
  headers: Record<string, string | string[] | undefined>,
  name: string,
  value: string,
): void {
  const before = headers[name];
  if (before === undefined) {
    headers[name] = name === 'set-cookie' ? [value] : value;
  } else if (never2.has(name)) {
    throw new RequestHeadError(400, `Duplicate ${name} header`);
  } else if (Array.isArray(before)) {
    before.push(value);
  } else if (!keptOnce.has(name)) {
    headers[name] = before + (name === 'cookie' ? '; ' : ', ') + value;
  }
}

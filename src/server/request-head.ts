/**
 * Reads the head of an HTTP/1.1 request (RFC 9112 §2–§5), for the listener that has no node:http. Strict, in
 * linear time, bounded; no socket.
 */
import type { IncomingHttpHeaders } from 'node:http';

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
  /** Bytes of the whole head. Default 16384. */
  maxHeadBytes?: number | undefined;
  /** Default 100. */
  maxHeadFields?: number | undefined;
}

/** Bytes of the request line. */
const MAX_REQUEST_LINE = 8192;
const END = '\r\n\r\n';
const CR = 0x0d;
const LF = 0x0a;

const tokenPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** What may stand in a field's value (RFC 9110 §5.5). No line ends: those would be another field. */
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;
const targetPattern = /^[\x21-\x7e\x80-\xff]+$/;

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
  /** What has come, as long as the head is not complete. */
  #buffer: Buffer | null = null;
  #length = 0;
  /** The request line's end was seen where it may be. */
  #isLineShort = false;
  /** After a head: what came behind it. */
  rest: Buffer = Buffer.alloc(0);

  constructor({ maxHeadBytes = 16 * 1024, maxHeadFields = 100 }: RequestHeadLimits = {}) {
    this.#maxHeadBytes = maxHeadBytes;
    this.#maxHeadFields = maxHeadFields;
  }

  /**
   * @returns the head once it is complete
   * @throws {RequestHeadError} 400, 414, 431 or 505
   */
  read(chunk: Buffer): RequestHead | undefined {
    const buffer = this.#buffer === null ? chunk : this.#append(chunk);
    const length = this.#buffer === null ? chunk.length : this.#length;
    if (length === 0) return undefined;
    checkBeginning(buffer[0]!);
    // The end may have begun in the chunk before.
    const from = Math.max(0, length - chunk.length - END.length + 1);
    const end = buffer.subarray(0, length).indexOf(END, from, 'latin1');
    if (end === -1 ? length > this.#maxHeadBytes : end + END.length > this.#maxHeadBytes)
      throw tooLarge(buffer);
    if (end === -1) {
      if (length > MAX_REQUEST_LINE) this.#checkLine(buffer.subarray(0, length));
      if (this.#buffer === null) this.#begin(chunk);
      return undefined;
    }
    const consumed = end + END.length - (length - chunk.length);
    this.rest = chunk.subarray(consumed);
    const text = buffer.toString('latin1', 0, end);
    this.#buffer = null;
    return parse(text, this.#maxHeadFields);
  }

  #checkLine(bytes: Buffer): void {
    if (this.#isLineShort) return;
    const end = bytes.indexOf(LF, 2);
    if (end === -1 || end > MAX_REQUEST_LINE) throw tooLarge(bytes);
    this.#isLineShort = true;
  }

  #begin(chunk: Buffer): void {
    this.#buffer = Buffer.allocUnsafe(Math.max(1024, 2 * chunk.length));
    this.#length = chunk.copy(this.#buffer);
  }

  /** Doubles where it must, so that a head that comes byte by byte is not copied for every byte. */
  #append(chunk: Buffer): Buffer {
    let buffer = this.#buffer!;
    // A byte more than allowed is enough to know, however much has come behind it.
    const needed = this.#length + chunk.length;
    if (needed > buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * buffer.length));
      buffer.copy(larger, 0, 0, this.#length);
      this.#buffer = buffer = larger;
    }
    this.#length += chunk.copy(buffer, this.#length);
    return buffer;
  }
}

/** A method begins with a letter, and nothing else begins a request: garbage is told at its first byte. */
function checkBeginning(byte: number): void {
  const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  if (!isLetter && byte !== CR) throw new RequestHeadError(400, 'Not an HTTP request');
}

function tooLarge(buffer: Buffer): RequestHeadError {
  // From 2 on, as an empty line may come before.
  const line = buffer.indexOf(LF, 2);
  return line === -1 || line > MAX_REQUEST_LINE
    ? new RequestHeadError(414, 'The request line is too long')
    : new RequestHeadError(431, 'The header fields are too large');
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
  if (httpVersion === '1.1' && headers['host'] === undefined) {
    throw new RequestHeadError(400, 'Missing Host header');
  }
  // What would follow is a body, which nobody here reads.
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0) {
    throw new RequestHeadError(method === 'GET' ? 400 : 405, 'A handshake has no body');
  }
  return { method, url, httpVersion, headers, rawHeaders };
}

function parseRequestLine(line: string): { method: string; url: string; httpVersion: string } {
  if (line.length > MAX_REQUEST_LINE) throw new RequestHeadError(414, 'The request line is too long');
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

/**
 * permessage-deflate for the conformance runner (RFC 7692), of its own: one-shot zlib calls with the sliding
 * window handed over as a preset dictionary. So a peer that compresses with a wrong context, or with a larger
 * window than agreed, is found out by the inflater.
 */
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { Violation } from './frames.ts';

/** What one offer or answer asks of the other side's compressor. */
export interface DeflateRequest {
  noContextTakeover: boolean;
  /** 9 to 15; 0 asks nothing. */
  maxWindowBits: number;
}

export interface DeflateSettings {
  own: DeflateRequest;
  peer: DeflateRequest;
}

const free: DeflateRequest = { noContextTakeover: false, maxWindowBits: 0 };

/** The client's offers, best first, for Sec-WebSocket-Extensions. */
export function formatOffers(requests: DeflateRequest[]): string {
  return requests
    .map((request) =>
      [
        'permessage-deflate',
        'client_no_context_takeover',
        'client_max_window_bits',
        ...(request.noContextTakeover ? ['server_no_context_takeover'] : []),
        ...(request.maxWindowBits ? [`server_max_window_bits=${request.maxWindowBits}`] : []),
      ].join('; '),
    )
    .join(', ');
}

interface Element {
  name: string;
  params: Map<string, string | true>;
}

function parseHeader(header: string): Element[] {
  return header
    .split(',')
    .map((element) => element.split(';').map((part) => part.trim()))
    .filter((parts) => parts[0] !== '')
    .map(([name = '', ...params]) => {
      const element: Element = { name, params: new Map() };
      for (const param of params) {
        const equals = param.indexOf('=');
        const key = equals < 0 ? param : param.slice(0, equals).trim();
        if (element.params.has(key)) throw new Violation(1010, `parameter ${key} twice in «${header}», §7.1`);
        const value = equals < 0 ? true : param.slice(equals + 1).trim();
        element.params.set(key, value === true ? true : value.replace(/^"(.*)"$/, '$1'));
      }
      return element;
    });
}

function readBits(value: string | true | undefined, name: string): number {
  if (typeof value !== 'string' || !/^([89]|1[0-5])$/.test(value)) {
    throw new Violation(1010, `${name} must be 8 to 15, RFC 7692 §7.1.2, not ${String(value)}`);
  }
  return Number(value);
}

/**
 * Reads a server's answer to our offers. Undefined where it declined.
 *
 * @throws {Violation} where it isn't an answer to any of them (RFC 7692 §7.1, RFC 6455 §4.1).
 */
export function readAnswer(
  header: string | undefined,
  requests: DeflateRequest[],
): DeflateSettings | undefined {
  if (header === undefined || header.trim() === '') return undefined;
  const [element, ...more] = parseHeader(header);
  if (!element || more.length > 0 || element.name !== 'permessage-deflate') {
    throw new Violation(1010, `the answer «${header}» is not to an offer, RFC 6455 §4.1`);
  }
  if (requests.length === 0) throw new Violation(1010, `«${header}» was answered, but nothing was offered`);
  const own = { ...free };
  const peer = { ...free };
  for (const [name, value] of element.params) {
    if (name === 'client_max_window_bits') own.maxWindowBits = readBits(value, name);
    else if (name === 'server_max_window_bits') peer.maxWindowBits = readBits(value, name);
    else if (name === 'client_no_context_takeover' && value === true) own.noContextTakeover = true;
    else if (name === 'server_no_context_takeover' && value === true) peer.noContextTakeover = true;
    else throw new Violation(1010, `parameter ${name} in «${header}», RFC 7692 §7.1`);
  }
  const fits = requests.some(
    (request) =>
      (!request.noContextTakeover || peer.noContextTakeover) &&
      (request.maxWindowBits === 0 || (peer.maxWindowBits || 15) <= request.maxWindowBits),
  );
  if (!fits) throw new Violation(1010, `«${header}» accepts an offer without its limits, RFC 7692 §7.1`);
  return { own, peer };
}

/**
 * Answers a client's offers with the first of `requests` that one of them permits. Undefined where none does.
 */
export function answerOffers(
  header: string | undefined,
  requests: DeflateRequest[],
): { answer: string; settings: DeflateSettings } | undefined {
  const offers = parseHeader(header ?? '').filter((element) => element.name === 'permessage-deflate');
  for (const request of requests) {
    for (const { params } of offers) {
      const bitsAreOffered = params.has('client_max_window_bits');
      if (request.maxWindowBits > 0 && !bitsAreOffered) continue;
      const own = { ...free };
      own.noContextTakeover = params.has('server_no_context_takeover');
      if (params.has('server_max_window_bits')) {
        own.maxWindowBits = readBits(params.get('server_max_window_bits'), 'server_max_window_bits');
        // zlib can't produce a raw window of 8 bits: such an offer is declined.
        if (own.maxWindowBits < 9) continue;
      }
      const answer = [
        'permessage-deflate',
        ...(own.noContextTakeover ? ['server_no_context_takeover'] : []),
        ...(own.maxWindowBits ? [`server_max_window_bits=${own.maxWindowBits}`] : []),
        ...(request.noContextTakeover ? ['client_no_context_takeover'] : []),
        ...(request.maxWindowBits ? [`client_max_window_bits=${request.maxWindowBits}`] : []),
      ].join('; ');
      return { answer, settings: { own, peer: { ...request } } };
    }
  }
  return undefined;
}

const tail = Buffer.from([0x00, 0x00, 0xff, 0xff]);

/** The last octets of a stream, as many as the window holds. */
class Window {
  readonly #size: number;
  octets: Buffer = Buffer.alloc(0);

  constructor(bits: number) {
    this.#size = 1 << bits;
  }

  add(data: Buffer): void {
    const old = Math.max(0, this.#size - data.length);
    const kept = old === 0 ? [] : [this.octets.subarray(-old)];
    this.octets = Buffer.concat([...kept, data.subarray(-this.#size)]);
  }
}

/** Compresses a message into the window of `request`, with what was sent before it as the dictionary. */
export function compressAfter(before: Buffer | undefined, data: Buffer, request: DeflateRequest): Buffer {
  const bits = request.maxWindowBits || 15;
  // A client may be told 8 bits, which zlib can't do: 9 would break the promise, stored blocks don't.
  const isStored = bits < 9;
  const octets = deflateRawSync(data, {
    level: isStored ? 0 : 1,
    windowBits: Math.max(9, bits),
    finishFlush: constants.Z_SYNC_FLUSH,
    ...(before && before.length > 0 && !isStored && { dictionary: before }),
  });
  return octets.subarray(0, -tail.length);
}

export class Compressor {
  readonly #request: DeflateRequest;
  readonly #window: Window | undefined;

  constructor(request: DeflateRequest) {
    this.#request = request;
    this.#window = request.noContextTakeover ? undefined : new Window(request.maxWindowBits || 15);
  }

  compress(data: Buffer): Buffer {
    const octets = compressAfter(this.#window?.octets, data, this.#request);
    this.#window?.add(data);
    return octets;
  }
}

export class Decompressor {
  readonly #bits: number;
  readonly #window: Window | undefined;

  constructor(request: DeflateRequest) {
    this.#bits = request.maxWindowBits || 15;
    this.#window = request.noContextTakeover ? undefined : new Window(this.#bits);
  }

  /** @throws {Violation} on octets that don't decode within the agreed context and window. */
  decompress(data: Buffer): Buffer {
    let message: Buffer;
    try {
      message = inflateRawSync(Buffer.concat([data, tail]), {
        windowBits: Math.max(9, this.#bits),
        finishFlush: constants.Z_SYNC_FLUSH,
        // zlib checks distances against its window only beyond the octets of one output chunk.
        chunkSize: this.#bits < 15 ? Math.max(512, 1 << this.#bits) : 1 << 16,
        ...(this.#window && this.#window.octets.length > 0 && { dictionary: this.#window.octets }),
      });
    } catch (error) {
      throw new Violation(1007, `compressed octets that don't inflate: ${(error as Error).message}`);
    }
    this.#window?.add(message);
    return message;
  }
}

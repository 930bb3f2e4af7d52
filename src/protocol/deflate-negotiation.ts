/** How both sides agree on permessage-deflate (RFC 7692 §5 and §7.1). */
import { deflateRawSync, type ZlibOptions } from 'node:zlib';
import { HandshakeError } from './errors.ts';
import { type ExtensionOffer, formatExtensions } from './extension.ts';

/** The name of the extension in Sec-WebSocket-Extensions (RFC 7692 §7). */
export const EXTENSION_NAME = 'permessage-deflate';

/** The options of ws, with other defaults where ws keeps a zlib stream per connection. */
export interface DeflateOptions {
  /**
   * Whether the server compresses each message on its own. Default true on a server, so that an idle
   * connection holds nothing; false uses what was sent before, up to 8 KiB of it per connection. On a client,
   * true asks the server for it; default false.
   */
  serverNoContextTakeover?: boolean | undefined;
  /**
   * The same for what the client sends. Default true on a server; false lets a client use what it sent before,
   * which costs the server 2^clientMaxWindowBits bytes per connection. On a client, true promises it; default
   * false.
   */
  clientNoContextTakeover?: boolean | undefined;
  /**
   * Upper bound for the window of what the server sends, as a power of 2. On a server 9–15: zlib can't produce
   * a raw window of 8. On a client 8–15 is asked of the server. Default: what the other side wishes, else 15.
   */
  serverMaxWindowBits?: number | undefined;
  /**
   * The same for what the client sends. On a server 8–15, and offers of clients that can't be told are then
   * declined. On a client 9–15, or `false` if it is not to be told.
   */
  clientMaxWindowBits?: number | boolean | undefined;
  /** Bytes below which a message isn't worth compressing, where it is compressed on its own. Default 1024. */
  threshold?: number | undefined;
  /** Of `zlib.deflateRaw`: `level`, `memLevel`, `strategy` and `chunkSize`. Others have no effect. */
  zlibDeflateOptions?: ZlibOptions | undefined;
  /** Of `zlib.inflateRaw`: `chunkSize`. Others have no effect. */
  zlibInflateOptions?: ZlibOptions | undefined;
  /** Calls into zlib's thread pool at a time, in the whole process. Default 10; 0: no limit. */
  concurrencyLimit?: number | undefined;
}

/** What was agreed on. Window bits are undefined where nobody named them: 15. */
export interface DeflateParameters {
  /** The server forgets its window after each message (RFC 7692 §7.1.1.1). */
  serverNoContextTakeover: boolean;
  /** The client forgets its window after each message (§7.1.1.2). */
  clientNoContextTakeover: boolean;
  /** Bits of the server's window, 8 to 15 (§7.1.2.1). */
  serverMaxWindowBits: number | undefined;
  /** Bits of the client's window, 8 to 15 (§7.1.2.2). */
  clientMaxWindowBits: number | undefined;
}

/**
 * Checks what an application asks for, once, where it asks.
 *
 * @throws {RangeError} for window bits that this side can't keep to, and options that zlib does not know
 * @throws {TypeError} for options that are of another type
 */
export function validateDeflateOptions(role: 'server' | 'client', options: DeflateOptions): void {
  const { serverMaxWindowBits: server, clientMaxWindowBits: client } = options;
  checkBits('serverMaxWindowBits', server, role === 'server' ? 9 : 8);
  if (typeof client === 'number') checkBits('clientMaxWindowBits', client, role === 'server' ? 8 : 9);
  const { zlibDeflateOptions, zlibInflateOptions } = options;
  if (zlibDeflateOptions !== undefined) {
    const { level, memLevel, strategy, chunkSize } = zlibDeflateOptions;
    deflateRawSync('', { level, memLevel, strategy, chunkSize });
  }
  if (zlibInflateOptions?.chunkSize !== undefined)
    deflateRawSync('', { chunkSize: zlibInflateOptions.chunkSize });
}

/**
 * The first of a client's offers that can be accepted, as it is accepted (RFC 7692 §5.1). An offer with a
 * parameter that is unknown, repeated or has a wrong value is declined. Nothing in an offer makes this throw.
 */
export function acceptOffer(
  offers: readonly ExtensionOffer[],
  options: DeflateOptions = {},
): DeflateParameters | undefined {
  for (const offer of offers) {
    if (offer.name !== EXTENSION_NAME) continue;
    const asked = parseParameters(offer);
    const accepted = asked && acceptParameters(asked, options);
    if (accepted) return accepted;
  }
  return undefined;
}

/** The value of Sec-WebSocket-Extensions that accepts an offer. */
export function formatParameters(parameters: DeflateParameters): string {
  const { serverMaxWindowBits, clientMaxWindowBits } = parameters;
  return format({
    server_no_context_takeover: parameters.serverNoContextTakeover,
    client_no_context_takeover: parameters.clientNoContextTakeover,
    server_max_window_bits: serverMaxWindowBits,
    client_max_window_bits: clientMaxWindowBits,
  });
}

/** The value of Sec-WebSocket-Extensions with which a client asks for permessage-deflate. */
export function createOffer(options: DeflateOptions = {}): string {
  return format({
    server_no_context_takeover: options.serverNoContextTakeover === true,
    client_no_context_takeover: options.clientNoContextTakeover === true,
    server_max_window_bits: options.serverMaxWindowBits,
    client_max_window_bits: options.clientMaxWindowBits ?? true,
  });
}

/**
 * What a server has agreed to, checked against what `createOffer` asked with the same options.
 *
 * @param answer the extensions of `parseResponse`
 * @returns undefined if the server didn't take the offer
 * @throws {HandshakeError} for an answer that doesn't fit the offer: the connection must be failed (§7.1)
 */
export function acceptAnswer(
  answer: readonly ExtensionOffer[],
  options: DeflateOptions = {},
): DeflateParameters | undefined {
  const agreed = answer.filter((extension) => extension.name === EXTENSION_NAME);
  if (agreed.length === 0) return undefined;
  const parsed = agreed.length === 1 ? parseParameters(agreed[0]!) : undefined;
  if (parsed === undefined || !fitsOffer(parsed, options)) {
    throw new HandshakeError('Invalid Sec-WebSocket-Extensions header', 101);
  }
  const own = typeof options.clientMaxWindowBits === 'number' ? options.clientMaxWindowBits : undefined;
  return {
    serverNoContextTakeover: parsed.serverNoContextTakeover,
    clientNoContextTakeover: parsed.clientNoContextTakeover || options.clientNoContextTakeover === true,
    serverMaxWindowBits: parsed.serverMaxWindowBits,
    clientMaxWindowBits: typeof parsed.clientMaxWindowBits === 'number' ? parsed.clientMaxWindowBits : own,
  };
}

/** The parameters as they came. `client_max_window_bits` may come without a value, from a client. */
interface RawParameters {
  serverNoContextTakeover: boolean;
  clientNoContextTakeover: boolean;
  serverMaxWindowBits: number | undefined;
  clientMaxWindowBits: number | true | undefined;
}

function parseParameters({ parameters }: ExtensionOffer): RawParameters | undefined {
  const raw: RawParameters = {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  for (const { name, value } of parameters) {
    if (name === 'server_no_context_takeover') {
      if (raw.serverNoContextTakeover || value !== undefined) return undefined;
      raw.serverNoContextTakeover = true;
    } else if (name === 'client_no_context_takeover') {
      if (raw.clientNoContextTakeover || value !== undefined) return undefined;
      raw.clientNoContextTakeover = true;
    } else if (name === 'server_max_window_bits') {
      const bits = parseBits(value);
      if (raw.serverMaxWindowBits !== undefined || bits === undefined) return undefined;
      raw.serverMaxWindowBits = bits;
    } else if (name === 'client_max_window_bits') {
      const bits = value === undefined ? true : parseBits(value);
      if (raw.clientMaxWindowBits !== undefined || bits === undefined) return undefined;
      raw.clientMaxWindowBits = bits;
    } else {
      return undefined;
    }
  }
  return raw;
}

/** §7.1.2: a decimal integer of 8 to 15 without leading zeros. */
function parseBits(value: string | undefined): number | undefined {
  return value !== undefined && /^(?:[89]|1[0-5])$/.test(value) ? Number(value) : undefined;
}

function acceptParameters(asked: RawParameters, options: DeflateOptions): DeflateParameters | undefined {
  const { clientMaxWindowBits: clientBound } = options;
  if (asked.serverMaxWindowBits === 8) return undefined;
  // §7.1.2.2: only a client that has named the parameter can be told.
  if (typeof clientBound === 'number' && asked.clientMaxWindowBits === undefined) return undefined;
  const hint = typeof asked.clientMaxWindowBits === 'number' ? asked.clientMaxWindowBits : undefined;
  return {
    serverNoContextTakeover: asked.serverNoContextTakeover || options.serverNoContextTakeover !== false,
    clientNoContextTakeover: asked.clientNoContextTakeover || options.clientNoContextTakeover !== false,
    serverMaxWindowBits: smaller(asked.serverMaxWindowBits, options.serverMaxWindowBits),
    clientMaxWindowBits:
      clientBound === false ? undefined : smaller(hint, clientBound === true ? undefined : clientBound),
  };
}

function fitsOffer(parsed: RawParameters, options: DeflateOptions): boolean {
  const { serverMaxWindowBits: askedBits, clientMaxWindowBits: ownBits } = options;
  // A server that accepts these has to say so (§7.1.1.1, §7.1.2.1).
  if (options.serverNoContextTakeover === true && !parsed.serverNoContextTakeover) return false;
  if (askedBits !== undefined && !((parsed.serverMaxWindowBits ?? 16) <= askedBits)) return false;
  // This one needs a value in an answer, may not come unasked, nor ask for more than was offered (§7.1.2.2).
  const told = parsed.clientMaxWindowBits;
  if (told === true) return false;
  if (told !== undefined && ownBits === false) return false;
  return told === undefined || typeof ownBits !== 'number' || told <= ownBits;
}

function format(parameters: Record<string, boolean | number | undefined>): string {
  return formatExtensions([
    {
      name: EXTENSION_NAME,
      parameters: Object.entries(parameters)
        .filter(([, value]) => value !== undefined && value !== false)
        .map(([name, value]) => ({ name, value: value === true ? undefined : String(value) })),
    },
  ]);
}

function smaller(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : b === undefined ? a : Math.min(a, b);
}

function checkBits(name: string, bits: number | undefined, lowest: number): void {
  if (bits !== undefined && !(Number.isInteger(bits) && bits >= lowest && bits <= 15)) {
    throw new RangeError(`${name} must be an integer of ${lowest} to 15, not ${bits}`);
  }
}

/** Options that servers and clients share, and what a connection makes of them. */
import { MAX_DELAY } from '../clock.ts';
import { isValidCloseCode } from '../protocol/close-codes.ts';
import { encodeClosePayload } from '../protocol/frame-writer.ts';
import type { ConnectionOptions } from './connection.ts';
import type { BackpressurePolicy } from './sender.ts';
import { Traffic } from './traffic.ts';
import type { Interceptor } from './transport.ts';

export interface CommonOptions {
  /** Bytes of a whole message, after inflating; a longer one fails the connection with 1009. Default 100 MiB; 0: no limit. */
  maxPayload?: number | undefined;
  /**
   * Frames of one message; more fail the connection with 1008. Bounds work, not memory: a fragment is copied into its
   * message at once. Default 262_144; 0: no limit.
   */
  maxFragments?: number | undefined;
  /** Without effect: `maxPayload` bounds what pieces may hold. */
  maxBufferedChunks?: number | undefined;
  /** Don't check text and close reasons for UTF-8. Default false. */
  skipUTF8Validation?: boolean | undefined;
  /** Answer pings by themselves. Default true. */
  autoPong?: boolean | undefined;
  /** False: at most one message in a turn of the event loop. Default true. */
  allowSynchronousEvents?: boolean | undefined;
  /** Milliseconds that the peer has for its part of the closing handshake. Default 30_000. */
  closeTimeout?: number | undefined;
  /** Milliseconds of silence after which the peer is pinged. Default 0: never. */
  pingInterval?: number | undefined;
  /** Milliseconds after an unanswered ping until the connection is given up. Default: pingInterval. */
  pongTimeout?: number | undefined;
  /** Bytes that may wait for a peer that reads slowly. Default: no limit. */
  maxBackpressure?: number | undefined;
  /**
   * What becomes of a message for which there is no room: `close` closes the connection, `drop` only drops it, and a
   * function is told of it while the message is taken all the same. Default `close`.
   */
  backpressurePolicy?: BackpressurePolicy | undefined;
  /** The close code for a peer that reads too slowly. Default 1013. */
  tooSlowCode?: number | undefined;
  /** The close code for a peer that does not answer pings. Default 4408. */
  pongTimeoutCode?: number | undefined;
  /** Emit `fragment` with pieces of messages as they come, in place of `message`. Default false. */
  partial?: boolean | undefined;
}

/** @throws {RangeError} unless it is undefined, or milliseconds that a timer can run */
export function checkMilliseconds(name: string, value: number | undefined): void {
  if (value == null) return;
  if (typeof value !== 'number' || !(value >= 0 && value <= MAX_DELAY)) {
    throw nonsense(name, value, `a number of milliseconds from 0 to ${MAX_DELAY}`);
  }
}

/** @throws {RangeError} unless it is undefined, a whole number that is not negative, or Infinity */
export function checkCount(name: string, value: number | undefined): void {
  if (value == null || value === Number.POSITIVE_INFINITY) return;
  if (!Number.isSafeInteger(value) || value < 0) {
    throw nonsense(name, value, 'a whole number from 0 on, or Infinity');
  }
}

/**
 * What stands at the door must not be ignored because it has another shape.
 *
 * @throws {TypeError} unless it is undefined, or an array of objects whose `before` and `after` are functions, if there
 */
export function checkInterceptors(value: readonly Interceptor[] | undefined): void {
  if (value === undefined) return;
  const isOne = (each: Partial<Record<'before' | 'after', unknown>> | null): boolean => {
    if (typeof each !== 'object' || each === null) return false;
    return [each.before, each.after].every((method) => method === undefined || typeof method === 'function');
  };
  if (!Array.isArray(value) || !value.every(isOne)) {
    throw new TypeError(
      'interceptors must be an array of objects of the form { before(request, attributes), after(request, session, error) }',
    );
  }
}

/** @throws {RangeError} unless it is undefined, or a code that a close frame can carry (RFC 6455 §7.4) */
function checkCloseCode(name: string, value: number | undefined): void {
  if (value == null || isValidCloseCode(value)) return;
  throw nonsense(name, value, 'a close code that may be sent (RFC 6455 §7.4)');
}

/** @throws {RangeError} unless a close frame can carry both (RFC 6455 §5.5.1) */
export function checkClose(code: number, reason: string | Uint8Array): void {
  checkCloseCode('code', code);
  try {
    encodeClosePayload(code, reason);
  } catch (error) {
    throw new RangeError(`reason: ${(error as Error).message}`);
  }
}

/** A limit of ws's, by its rules: a string of digits is a number, and what is not above 0 is no limit. */
function limit(name: string, value: number | undefined, byDefault: number): number {
  const bound = Number(value ?? byDefault);
  if (Number.isNaN(bound)) throw nonsense(name, value, 'a number, 0 for no limit');
  return bound > 0 && bound < Number.POSITIVE_INFINITY ? bound : 0;
}

function nonsense(name: string, value: unknown, wanted: string): RangeError {
  const given = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return new RangeError(`${name}: ${given} is not ${wanted}`);
}

/** @throws {RangeError} for what a server's `others` can't be */
export function checkOthers(others: unknown): void {
  if (others !== undefined && others !== 'refuse' && others !== 'ignore') {
    throw nonsense('others', others, "'refuse' or 'ignore'");
  }
}

/** @throws {RangeError} for an option of a client that can't be one */
export function checkClientOptions(
  options: CommonOptions & { handshakeTimeout?: number | undefined; maxRedirects?: number | undefined },
): void {
  connectionOptions('client', options);
  checkMilliseconds('handshakeTimeout', options.handshakeTimeout);
  checkCount('maxRedirects', options.maxRedirects);
}

/** @throws {RangeError} for an option that can't be one */
export function connectionOptions(
  role: 'server' | 'client',
  options: CommonOptions,
  more: Pick<Partial<ConnectionOptions>, 'views' | 'generateMask' | 'encode' | 'traffic'> = {},
): ConnectionOptions {
  const { backpressurePolicy = 'close' } = options;
  checkMilliseconds('closeTimeout', options.closeTimeout);
  checkMilliseconds('pingInterval', options.pingInterval);
  checkMilliseconds('pongTimeout', options.pongTimeout);
  checkCount('maxBackpressure', options.maxBackpressure);
  checkCloseCode('tooSlowCode', options.tooSlowCode);
  checkCloseCode('pongTimeoutCode', options.pongTimeoutCode);
  if (
    backpressurePolicy !== 'close' &&
    backpressurePolicy !== 'drop' &&
    typeof backpressurePolicy !== 'function'
  ) {
    throw nonsense('backpressurePolicy', backpressurePolicy, "'close', 'drop' or a function");
  }
  return {
    role,
    maxPayload: limit('maxPayload', options.maxPayload, 100 * 1024 * 1024),
    maxFragments: limit('maxFragments', options.maxFragments, 256 * 1024),
    closeTimeout: options.closeTimeout ?? 30_000,
    autoPong: options.autoPong ?? true,
    skipUTF8Validation: options.skipUTF8Validation ?? false,
    allowSynchronousEvents: options.allowSynchronousEvents ?? true,
    maxBackpressure: options.maxBackpressure ?? Number.POSITIVE_INFINITY,
    backpressurePolicy,
    tooSlowCode: options.tooSlowCode ?? 1013,
    pongTimeoutCode: options.pongTimeoutCode ?? 4408,
    partial: options.partial ?? false,
    views: more.views ?? false,
    generateMask: more.generateMask,
    encode: more.encode ?? null,
    traffic: more.traffic ?? new Traffic(),
  };
}

/** Options that servers and clients share, and what a connection makes of them. */
import type { ConnectionOptions } from './connection.ts';

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
  /** What becomes of a message for which there is no room: `close` closes the connection, `drop` only drops it. Default `close`. */
  backpressurePolicy?: 'close' | 'drop' | undefined;
  /** The close code for a peer that reads too slowly. Default 1013. */
  tooSlowCode?: number | undefined;
  /** The close code for a peer that does not answer pings. Default 4408. */
  pongTimeoutCode?: number | undefined;
  /** Emit `fragment` with pieces of messages as they come, in place of `message`. Default false. */
  partial?: boolean | undefined;
}

export function connectionOptions(
  role: 'server' | 'client',
  options: CommonOptions,
  more: Pick<Partial<ConnectionOptions>, 'views' | 'generateMask' | 'encode'> = {},
): ConnectionOptions {
  return {
    role,
    maxPayload: options.maxPayload ?? 100 * 1024 * 1024,
    maxFragments: options.maxFragments ?? 256 * 1024,
    closeTimeout: options.closeTimeout ?? 30_000,
    autoPong: options.autoPong ?? true,
    skipUTF8Validation: options.skipUTF8Validation ?? false,
    allowSynchronousEvents: options.allowSynchronousEvents ?? true,
    maxBackpressure: options.maxBackpressure ?? Number.POSITIVE_INFINITY,
    backpressurePolicy: options.backpressurePolicy ?? 'close',
    tooSlowCode: options.tooSlowCode ?? 1013,
    silentCode: options.pongTimeoutCode ?? 4408,
    partial: options.partial ?? false,
    views: more.views ?? false,
    generateMask: more.generateMask,
    encode: more.encode ?? null,
  };
}

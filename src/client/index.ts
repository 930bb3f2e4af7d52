/** `tidings/client`: a page's connection to a tidings push server that falls back to SockJS where WebSocket is broken. */
import { fallbackTransport } from './fallback.ts';
import { Client, type ClientOf } from './full.ts';
import type { ConnectOptions } from './options.ts';
import { pageStorage } from './storage.ts';
import { type WebSocketConstructor, webSocketTransport } from './transport.ts';

const TEN_MINUTES = 600_000;

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is neither WebSocket nor fetch
 */
export function connect<T = unknown>(options: ConnectOptions = {}): ClientOf<T> {
  const { transport, fallback, WebSocket, connectTimeout = 15_000 } = options;
  if (transport !== undefined || fallback === false || typeof fetch === 'undefined')
    return new Client(options) as unknown as ClientOf<T>;
  const isThere = WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  return new Client({
    ...options,
    transport: fallbackTransport({
      webSocket: isThere && webSocketTransport(isThere),
      endpoint: fallback,
      storage: options.storage ?? pageStorage(),
      patience: connectTimeout / 3,
      retry: TEN_MINUTES,
    }),
  }) as unknown as ClientOf<T>;
}

export type * from './full.ts';
export { Client, CloseCode, webSocketTransport } from './full.ts';

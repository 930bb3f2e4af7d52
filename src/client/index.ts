/**
 * `tidings/client`: a page's connection to a tidings push server that falls back to SockJS where WebSocket is broken.
 *
 * @module tidings/client
 */
import { fallbackTransport } from './fallback.ts';
import { Client, type ClientOf } from './full.ts';
import type { ConnectOptions } from './options.ts';
import { shareLater } from './share-later.ts';
import { pageStorage } from './storage.ts';
import { type TransportFactory, type WebSocketConstructor, webSocketTransport } from './transport.ts';

const TEN_MINUTES = 600_000;

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is neither WebSocket nor fetch
 */
export function connect<T = unknown>(options: ConnectOptions = {}): ClientOf<T> {
  const transport = options.transport ?? transportOf(options);
  return new Client({
    ...options,
    transport: options.share ? shareLater(transport, options) : transport,
  }) as unknown as ClientOf<T>;
}

function transportOf({
  fallback,
  WebSocket,
  connectTimeout = 15_000,
  storage,
}: ConnectOptions): TransportFactory {
  if (fallback === false || typeof fetch === 'undefined') return webSocketTransport(WebSocket);
  const isThere = WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  return fallbackTransport({
    webSocket: isThere && webSocketTransport(isThere),
    endpoint: fallback,
    storage: storage ?? pageStorage(),
    patience: connectTimeout / 3,
    retry: TEN_MINUTES,
  });
}

export type * from './full.ts';
export { Client, CloseCode, webSocketTransport } from './full.ts';

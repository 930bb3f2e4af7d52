/** `tidings/client`: a page's connection to a tidings push server that falls back to SockJS where WebSocket is broken. */
import { fallbackTransport } from './fallback.ts';
import { Client } from './full.ts';
import type { ConnectOptions } from './options.ts';
import { pageStorage } from './storage.ts';
import { type WebSocketConstructor, webSocketTransport } from './transport.ts';

const TEN_MINUTES = 600_000;

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is neither WebSocket nor fetch
 */
export function connect<Data = unknown>(options: ConnectOptions = {}): Client<Data> {
  const { transport, fallback, WebSocket, connectTimeout = 15_000 } = options;
  if (transport !== undefined || fallback === false || typeof fetch === 'undefined')
    return new Client<Data>(options);
  const isThere = WebSocket ?? (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket;
  return new Client<Data>({
    ...options,
    transport: fallbackTransport({
      webSocket: isThere && webSocketTransport(isThere),
      endpoint: fallback,
      storage: options.storage ?? pageStorage(),
      patience: connectTimeout / 3,
      retry: TEN_MINUTES,
    }),
  });
}

export type * from './full.ts';
export { Client, CloseCode, webSocketTransport } from './full.ts';

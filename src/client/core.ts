/**
 * `tidings/client/core`: a page's connection to a tidings push server, by WebSocket or a transport of one's own.
 *
 * @module tidings/client/core
 */
import type { Channels } from '../push/talk/wire.ts';
import { Client } from './client.ts';
import type { ConnectOptions } from './options.ts';

/** The type of what `connect` returns: `T` is the type of all data, or an interface that extends `Channels`. */
export type ClientOf<T> = T extends Channels ? Client<unknown, T> : Client<T>;

/**
 * Connects, and stays connected until `close()`. Add listeners in the same turn: nothing happens before it ends.
 * @throws {TypeError} where `url` is not one; {Error} where there is no WebSocket
 */
export function connect<T = unknown>(options: ConnectOptions = {}): ClientOf<T> {
  return new Client(options) as unknown as ClientOf<T>;
}

export type {
  ChannelState,
  Channels,
  DataOf,
  GapReason,
  Published,
  TopicOf,
  WirePosition as Position,
} from '../push/talk/wire.ts';
export { CloseCode } from '../push/talk/wire.ts';
export { Client } from './client.ts';
export type {
  AckedEvent,
  ClientEvents,
  CloseEvent,
  ConnectionState,
  GapEvent,
  Message,
  MessageOf,
  OpenEvent,
  PresenceEvent,
  WithdrawnEvent,
} from './events.ts';

export type { ConnectOptions, Start } from './options.ts';
export type { BackoffOptions, FixedOptions, ReconnectOptions } from './reconnect.ts';
export type { StorageLike } from './storage.ts';
export {
  type Transport,
  type TransportEvents,
  type TransportFactory,
  type WebSocketConstructor,
  type WebSocketLike,
  webSocketTransport,
} from './transport.ts';

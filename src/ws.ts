/**
 * `tidings/ws`: the public API of ws 8, and more. `import WebSocket from 'tidings/ws'` in place of `'ws'` is
 * all there is to do; docs/ws-compatibility.md lists what differs.
 *
 * @module tidings/ws
 */
import type { ClientRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { DeflateOptions } from './protocol/deflate-negotiation.ts';
import { ProtocolError } from './protocol/errors.ts';
import type {
  VerifyCallback,
  VerifyClient,
  VerifyClientCallbackAsync,
  VerifyClientCallbackSync,
  VerifyInfo,
} from './server/admission.ts';
import type { Sendable } from './server/data.ts';
import type { EventListenerOptions } from './server/event-target.ts';
import { PreparedMessage } from './server/prepared-message.ts';
import { createWebSocketStream } from './server/stream.ts';
import type {
  Attributes,
  Handler,
  HandshakeRequest,
  Interceptor,
  SendResult,
  Transport,
} from './server/transport.ts';
import {
  type ClientOptions,
  type CloseEvent,
  type ErrorEvent,
  type Event,
  type MessageEvent,
  WebSocket,
  type WebSocketEventMap,
} from './server/websocket.ts';
import type {
  BinaryType,
  CertMeta,
  Data,
  MessageOptions,
  RawData,
  SendCallback,
  WebSocketEvents,
} from './server/websocket-data.ts';
import { WebSocketServer } from './server/websocket-server.ts';
import type {
  CloseOptions,
  WebSocketServerEvents,
  WebSocketServerOptions,
} from './server/websocket-server-options.ts';

/** Sends the request of a client, which it may have changed before. */
type FinishRequestCallback = (request: ClientRequest, websocket: WebSocket) => void;

/** In CommonJS this is all that `require` returns, and ws's users find everything there under the name of the class. */
Object.assign(WebSocket, {
  createWebSocketStream,
  default: WebSocket,
  PreparedMessage,
  ProtocolError,
  Server: WebSocketServer,
  WebSocket,
  WebSocketServer,
});

/** The same for the compiler. */
declare module './server/websocket.ts' {
  namespace WebSocket {
    export {
      type AddressInfo,
      type Attributes,
      type BinaryType,
      type CertMeta,
      type ClientOptions,
      type CloseEvent,
      type CloseOptions,
      createWebSocketStream,
      type Data,
      type DeflateOptions as PerMessageDeflateOptions,
      type ErrorEvent,
      type Event,
      type EventListenerOptions,
      type FinishRequestCallback,
      type Handler,
      type HandshakeRequest,
      type Interceptor,
      type MessageEvent,
      type MessageOptions,
      PreparedMessage,
      ProtocolError,
      type RawData,
      type Sendable,
      type SendCallback,
      type SendResult,
      type Transport,
      type VerifyCallback,
      type VerifyClient,
      type VerifyClientCallbackAsync,
      type VerifyClientCallbackSync,
      type VerifyInfo,
      WebSocket,
      type WebSocketEventMap,
      type WebSocketEvents,
      WebSocketServer,
      WebSocketServer as Server,
      type WebSocketServerEvents,
      type WebSocketServerOptions,
      type WebSocketServerOptions as ServerOptions,
    };
  }
}

export {
  type AddressInfo,
  type Attributes,
  type BinaryType,
  type CertMeta,
  type ClientOptions,
  type CloseEvent,
  type CloseOptions,
  createWebSocketStream,
  type Data,
  type DeflateOptions as PerMessageDeflateOptions,
  type ErrorEvent,
  type Event,
  type EventListenerOptions,
  type FinishRequestCallback,
  type Handler,
  type HandshakeRequest,
  type Interceptor,
  type MessageEvent,
  type MessageOptions,
  PreparedMessage,
  ProtocolError,
  type RawData,
  type Sendable,
  type SendCallback,
  type SendResult,
  type Transport,
  type VerifyCallback,
  type VerifyClient,
  type VerifyClientCallbackAsync,
  type VerifyClientCallbackSync,
  type VerifyInfo,
  WebSocket,
  WebSocket as default,
  type WebSocketEventMap,
  type WebSocketEvents,
  WebSocketServer,
  WebSocketServer as Server,
  type WebSocketServerEvents,
  type WebSocketServerOptions,
  type WebSocketServerOptions as ServerOptions,
};

/**
 * `tidings/ws`: the public API of ws 8, and more. `import WebSocket from 'tidings/ws'` in place of `'ws'` is
 * all there is to do; docs/ws-compatibility.md lists what differs.
 */
import { createWebSocketStream } from './server/stream.ts';
import { WebSocket } from './server/websocket.ts';
import { WebSocketServer } from './server/websocket-server.ts';

export type { VerifyClient, VerifyInfo } from './server/admission.ts';
export type { Sendable } from './server/data.ts';
export type { CloseEvent, ErrorEvent, Event, MessageEvent } from './server/events.ts';
export { PreparedMessage } from './server/prepared-message.ts';
export type {
  Attributes,
  Handler,
  HandshakeRequest,
  Interceptor,
  SendResult,
  Transport,
} from './server/transport.ts';
export type {
  BinaryType,
  ClientOptions,
  MessageOptions,
  RawData,
  WebSocketEvents,
} from './server/websocket.ts';
export type {
  CloseOptions,
  WebSocketServerEvents,
  WebSocketServerOptions,
} from './server/websocket-server.ts';

Object.assign(WebSocket, { WebSocket, WebSocketServer, Server: WebSocketServer, createWebSocketStream });

// The last name is what `require('tidings/ws')` returns.
export {
  createWebSocketStream,
  WebSocket,
  WebSocket as default,
  WebSocket as 'module.exports',
  WebSocketServer,
};

/** SockJS (protocol 0.3.3) for pages whose browser or proxy has no WebSocket. */

export type { Bus } from './bus.ts';
export type { Fence } from './fence.ts';
export type { Receiver, SockJsSession } from './session.ts';
export {
  DEFAULT_DISCONNECT_DELAY,
  DEFAULT_HEARTBEAT_DELAY,
  type SockJsOptions,
  SockJsServer,
} from './sockjs-server.ts';

/** Only types are imported; and the whole namespace is there. */
import type WebSocket from 'tidings/ws';
import type {
  AddressInfo,
  CertMeta,
  ClientOptions,
  EventListenerOptions,
  FinishRequestCallback,
  RawData,
  Server,
  ServerOptions,
  WebSocketServer,
} from 'tidings/ws';

export interface Transport {
  socket: WebSocket;
  server: WebSocketServer | Server;
  options: ClientOptions & { url: string };
  address: AddressInfo | WebSocket.AddressInfo;
  certificate: CertMeta | WebSocket.CertMeta;
  listening: EventListenerOptions;
  finish: FinishRequestCallback | WebSocket.FinishRequestCallback;
}
export interface Settings extends ServerOptions {
  name: string;
}
export interface Connecting extends WebSocket.ClientOptions {
  deflate: WebSocket.PerMessageDeflateOptions;
  raw: WebSocket.RawData;
  data: WebSocket.Data;
}
export type States = WebSocket['readyState'];
export type Parameters0 = ConstructorParameters<typeof WebSocket>;
export type Sent = Parameters<WebSocket['send']>[0];

export const address: AddressInfo = { address: '127.0.0.1', family: 'IPv4', port: 1 };
export const states: States[] = [0, 1, 2, 3];
export function decode(data: RawData): string {
  return data.toString();
}
export function finish(callback: FinishRequestCallback, socket: WebSocket): void {
  socket.once('upgrade', (response) => callback(response as never, socket));
}

// @ts-expect-error there are four
export const fifth: States = 4;
// @ts-expect-error only a type
export const made = new WebSocketServer();

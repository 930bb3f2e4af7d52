/** Libraries that take an implementation, and tests that pretend to be one. */
import type { EventEmitter } from 'node:events';
import * as ws from 'tidings/ws';
import { WebSocket } from 'tidings/ws';

export interface Options<E = typeof ws.WebSocket> {
  implementation: E;
  Server?: typeof ws.WebSocketServer;
}

export function connect({ implementation }: Options, url: string): ws.WebSocket {
  return new implementation(url, 'v1');
}
export const socket = connect({ implementation: WebSocket, Server: ws.WebSocketServer }, 'ws://localhost');
export const viaDefault = new ws.default('ws://localhost');

export function emitters(...all: EventEmitter[]): number {
  return all.reduce((count, each) => count + each.listenerCount('error'), 0);
}
emitters(socket, new ws.WebSocketServer({ noServer: true }));

export function onAny(
  target: WebSocket,
  event: string | symbol,
  listener: (...args: unknown[]) => void,
): void {
  target.on(event, listener).once(event, listener).off(event, listener).emit(event, 1, 2);
}
export function isOpen(target: Pick<WebSocket, 'readyState'>): boolean {
  return target.readyState === WebSocket.OPEN || target.readyState !== ws.WebSocket.CLOSED;
}
isOpen({ readyState: 1 });
const constants: [0, 1, 2, 3] = [WebSocket.CONNECTING, WebSocket.OPEN, WebSocket.CLOSING, WebSocket.CLOSED];
console.log(constants, WebSocket.prototype.send.length);

// @ts-expect-error a class is asked for
connect({ implementation: 'ws' }, 'ws://localhost');

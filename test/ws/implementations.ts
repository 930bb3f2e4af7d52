/** ws itself and tidings/ws, under ws's own types: what is tested of one is tested of both. */

import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import * as ws from 'ws';
import { createWebSocketStream, WebSocket, WebSocketServer } from '../../src/ws.ts';
import { cleanUp } from '../server/support.ts';

export interface Implementation {
  name: string;
  WebSocket: typeof ws.WebSocket;
  WebSocketServer: typeof ws.WebSocketServer;
  createWebSocketStream: typeof ws.createWebSocketStream;
}

export const implementations: Implementation[] = [
  {
    name: 'ws',
    WebSocket: ws.WebSocket,
    WebSocketServer: ws.WebSocketServer,
    createWebSocketStream: ws.createWebSocketStream,
  },
  {
    name: 'tidings/ws',
    WebSocket: WebSocket as unknown as typeof ws.WebSocket,
    WebSocketServer: WebSocketServer as unknown as typeof ws.WebSocketServer,
    createWebSocketStream: createWebSocketStream as unknown as typeof ws.createWebSocketStream,
  },
];

/** A server on a free loopback port, until the test is over. */
export async function serve(
  { WebSocketServer }: Implementation,
  options: ws.ServerOptions = {},
): Promise<{ wss: ws.WebSocketServer; port: number; url: string }> {
  const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  cleanUp(() => {
    for (const client of wss.clients ?? []) client.terminate();
    wss.close();
  });
  await once(wss, 'listening');
  const { port } = wss.address() as AddressInfo;
  return { wss, port, url: `ws://127.0.0.1:${port}` };
}

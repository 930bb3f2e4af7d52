/** WebSockets as streams. */
import { createReadStream } from 'node:fs';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createWebSocketStream, WebSocket, WebSocketServer } from 'tidings/ws';

const wss = new WebSocketServer({ port: 0 });
wss.on('connection', (ws) => {
  const duplex: Duplex = createWebSocketStream(ws, {
    encoding: 'utf8',
    decodeStrings: false,
    highWaterMark: 16,
  });
  duplex.pipe(process.stdout);
  process.stdin.pipe(duplex);
  duplex.on('error', (error) => console.error(error.message));
});

export async function upload(file: string, url: string): Promise<void> {
  const ws = new WebSocket(url);
  await pipeline(createReadStream(file), createWebSocketStream(ws, { readableObjectMode: true }));
}
const namespaced: Duplex = WebSocket.createWebSocketStream(new WebSocket('ws://localhost'));
namespaced.destroy();

// @ts-expect-error not a WebSocket
createWebSocketStream(process.stdin);

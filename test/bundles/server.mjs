// An ES module that uses every entry of the package, and a neighbour that requires one of them.
import { memoryBroker, PushServer, redisBroker } from 'tidings';
import { PolicyServer } from 'tidings/policy';
import { FrameReader } from 'tidings/protocol';
import { RespClient } from 'tidings/redis';
import WebSocket, { createWebSocketStream, WebSocketServer } from 'tidings/ws';
import neighbour from './neighbour.cjs';

const all = [
  memoryBroker,
  PushServer,
  redisBroker,
  PolicyServer,
  FrameReader,
  RespClient,
  createWebSocketStream,
];
const isOne = neighbour.WebSocket === WebSocket && WebSocket.Server === WebSocketServer;
if (!isOne || all.some((each) => typeof each !== 'function')) throw new Error('not what it was');

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: { threshold: 0 } });
server.on('connection', (ws) => {
  if (!neighbour.isOurs(ws)) throw new Error('there are two of the class');
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});
server.on('listening', () => console.log(`listening on ${server.address().port}`));

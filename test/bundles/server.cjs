// The same in CommonJS.
const { memoryBroker, PushServer, redisBroker } = require('tidings');
const { PolicyServer } = require('tidings/policy');
const { FrameReader } = require('tidings/protocol');
const { RespClient } = require('tidings/redis');
const WebSocket = require('tidings/ws');
const { createWebSocketStream, Server, WebSocketServer } = require('tidings/ws');
const neighbour = require('./neighbour.cjs');

const all = [
  memoryBroker,
  PushServer,
  redisBroker,
  PolicyServer,
  FrameReader,
  RespClient,
  createWebSocketStream,
];
const isOne =
  neighbour.WebSocket === WebSocket && WebSocket.Server === WebSocketServer && Server === WebSocketServer;
if (!isOne || all.some((each) => typeof each !== 'function')) throw new Error('not what it was');

const server = new WebSocket.Server({ port: 0, host: '127.0.0.1', perMessageDeflate: { threshold: 0 } });
server.on('connection', (ws) => {
  if (!neighbour.isOurs(ws)) throw new Error('there are two of the class');
  ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
});
server.on('listening', () => console.log(`listening on ${server.address().port}`));

/** Subprotocols, the lines of the response, and refusals. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type PerMessageDeflateOptions, WebSocketServer } from 'tidings/ws';

const deflate: PerMessageDeflateOptions = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: 10,
  clientMaxWindowBits: 10,
  concurrencyLimit: 10,
  threshold: 1024,
  zlibDeflateOptions: { chunkSize: 1024, memLevel: 7, level: 3, strategy: 0 },
  zlibInflateOptions: { chunkSize: 10 * 1024 },
};

const wss = new WebSocketServer({
  port: 0,
  perMessageDeflate: deflate,
  maxBufferedChunks: 1024,
  maxFragments: 1024,
  skipUTF8Validation: true,
  autoPong: false,
  allowSynchronousEvents: false,
  handleProtocols(protocols, request) {
    const wanted: Set<string> = protocols;
    if (wanted.has('graphql-transport-ws') && request.url === '/graphql') return 'graphql-transport-ws';
    return false;
  },
});

function choose(protocols: Set<string>, _request: IncomingMessage): string | false {
  return protocols.values().next().value ?? false;
}
new WebSocketServer({ noServer: true, handleProtocols: choose });

wss.on('headers', (headers: string[], request: IncomingMessage) => {
  headers.push(`Set-Cookie: seen=${request.url}`);
});
wss.on('wsClientError', (error: Error, socket: Duplex, request: IncomingMessage) => {
  socket.end(`HTTP/1.1 400 Bad Request\r\n\r\n${error.message} ${request.method}`);
});
wss.off('headers', console.log);
wss.removeListener('connection', console.log);
wss.addListener('connection', (ws, request) => console.log(ws.protocol, request.headers.host));
wss.addListener('headers', (headers) => headers.unshift());
wss.once('listening', () => console.log('once'));
wss.emit('connection', {}, {});

// @ts-expect-error lines are strings
wss.on('headers', (headers) => headers.push(5).startsWith('x'));
// @ts-expect-error a string or false
new WebSocketServer({ noServer: true, handleProtocols: () => 5 });

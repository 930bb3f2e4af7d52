/** CommonJS with import statements; types without `type`, as most of what was written has them. */
import WebSocket, {
  type ClientOptions,
  createWebSocketStream,
  type Data,
  type MessageEvent,
  type PerMessageDeflateOptions,
  type RawData,
  Server,
  type ServerOptions,
  type VerifyClientCallbackAsync,
  WebSocketServer,
} from 'tidings/ws';

const deflate: PerMessageDeflateOptions = { threshold: 1 };
const verifyClient: VerifyClientCallbackAsync = (_info, done) => done(false, 403);
const options: ServerOptions = { port: 0, verifyClient, perMessageDeflate: deflate };
const wss: WebSocketServer = new WebSocketServer(options);
const old: Server = new Server({ noServer: true });
const client: ClientOptions = { perMessageDeflate: false };
wss.on('connection', (ws) => {
  ws.on('message', (raw: RawData) => ws.send(raw));
  ws.onmessage = (event: MessageEvent) => {
    const data: Data = event.data;
    console.log(data, old.clients.size);
  };
});
createWebSocketStream(new WebSocket('ws://localhost', client)).destroy();

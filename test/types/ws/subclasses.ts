/** Classes of one's own on both sides, and the generic types that go with them. */
import { createServer, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import WebSocket, { type ServerOptions, WebSocketServer } from 'tidings/ws';

class Session extends WebSocket {
  readonly born = Date.now();
  userId = '';

  tell(message: { type: string }): void {
    if (this.readyState === this.OPEN) this.send(JSON.stringify(message));
  }

  override close(code = 1000, data?: string | Buffer): void {
    this.emit('leaving', this.userId);
    super.close(code, data);
  }
}

class NamedRequest extends IncomingMessage {
  get user(): string {
    return String(this.headers['x-user']);
  }
}

class Hub extends WebSocketServer<typeof Session> {
  constructor(options: ServerOptions<typeof Session>) {
    super({ ...options, WebSocket: Session });
    this.on('connection', (session, request) => {
      session.userId = request.url ?? '';
      session.tell({ type: 'welcome' });
    });
  }

  find(userId: string): Session | undefined {
    for (const session of this.clients) if (session.userId === userId) return session;
    return undefined;
  }

  override shouldHandle(request: IncomingMessage): boolean | Promise<boolean> {
    return request.url !== '/refused' && super.shouldHandle(request);
  }

  override handleUpgrade(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    callback: (client: Session, request: IncomingMessage) => void,
  ): void {
    super.handleUpgrade(request, socket, head, (client, upgraded) => callback(client, upgraded));
  }
}

const hub = new Hub({ port: 0 });
const found: Session | undefined = hub.find('alice');
found?.on('leaving', (user: string) => console.log(user));
hub.once('connection', (session) => console.log(session.born.toFixed()));

const http = createServer({ IncomingMessage: NamedRequest });
const typed = new WebSocketServer<typeof Session, typeof NamedRequest>({
  server: http,
  WebSocket: Session,
  verifyClient: ({ req }: { req: NamedRequest }) => req.user !== '',
  handleProtocols: (protocols, request) => (request.user === 'root' ? 'admin' : [...protocols][0]!),
});
typed.on('connection', (session, request) => session.tell({ type: request.user }));
typed.on('headers', (headers, request) => headers.push(`X-User: ${request.user}`));
typed.on('wsClientError', (error, socket, request) => socket.end(`${error.message} ${request.user}`));

// The way the older of them write it.
class Old extends WebSocket.Server<typeof Session> {}
const old: WebSocket.Server<typeof Session> = new Old({ noServer: true, WebSocket: Session });
const plain: WebSocket.Server = new WebSocket.Server({ noServer: true });
const also: WebSocket.WebSocketServer = new WebSocket.WebSocketServer({ noServer: true });
const client: WebSocket.WebSocket = new WebSocket.WebSocket('ws://localhost');
for (const session of old.clients) session.tell({ type: 'old' });
plain.options.maxPayload = 5;
console.log(plain.path, also.options.noServer, client instanceof WebSocket);

// @ts-expect-error a Session, not a string
const wrong: string = hub.find('bob');
// @ts-expect-error plain sockets tell nothing
plain.on('connection', (ws: WebSocket) => ws.tell({ type: 'x' }));
// @ts-expect-error not a class of WebSockets
new WebSocketServer({ noServer: true, WebSocket: Date });
console.log(wrong);

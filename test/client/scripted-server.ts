/** A WebSocket server whose every answer the test gives itself: for what a real push server does only by accident. */
import { once } from 'node:events';
import type { AddressInfo, Socket } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { ClientFrame, ServerFrame, Welcome, WirePosition } from '../../src/push/talk/wire.ts';
import { until } from '../support/net.ts';

export class ScriptedConnection {
  readonly socket: WebSocket;
  /** The request's path and query. */
  readonly url: string;
  readonly frames: ClientFrame[] = [];
  readonly texts: string[] = [];
  closed: { code: number; reason: string } | undefined;

  constructor(socket: WebSocket, url: string) {
    this.socket = socket;
    this.url = url;
    socket.on('message', (data) => {
      this.texts.push(String(data));
      if (String(data).startsWith('{')) this.frames.push(JSON.parse(String(data)));
    });
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: String(reason) };
    });
    socket.on('error', () => {});
  }

  send(frame: ServerFrame): void {
    this.socket.send(JSON.stringify(frame));
  }

  /** What is sent meanwhile goes as one segment, so that the client takes all of it before any of its timers. */
  atOnce(send: () => void): void {
    const { _socket: raw } = this.socket as unknown as { _socket: Socket };
    raw.cork();
    send();
    raw.uncork();
  }

  /** Waits for the frame of this type that comes after `skip` others. */
  frame<T extends ClientFrame['type']>(type: T, skip = 0): Promise<Extract<ClientFrame, { type: T }>> {
    return until(`a ${type} frame`, () => {
      const found = this.frames.filter((frame) => frame.type === type)[skip];
      return found as Extract<ClientFrame, { type: T }> | undefined;
    }) as Promise<Extract<ClientFrame, { type: T }>>;
  }

  async welcome(frame: Partial<Welcome> = {}): Promise<void> {
    await this.frame('hello');
    this.sendWelcome(frame);
  }

  sendWelcome(frame: Partial<Welcome> = {}): void {
    this.send({
      type: 'welcome',
      session: 's1',
      instance: 'i1',
      user: 'alice',
      heartbeat: { interval: 60_000, timeout: 60_000 },
      channels: { inbox: { position: at(0), recovered: true } },
      ...frame,
    });
  }

  /** Message number `offset` of a channel. */
  message(offset: number, data: unknown = `m${offset}`, channel = 'inbox', epoch = 'e1'): void {
    this.send({ type: 'message', channel, ...at(offset, epoch), time: 1, data });
  }
}

export function at(offset: number, epoch = 'e1'): WirePosition {
  return { epoch, offset, id: offset === 0 ? '' : `${epoch}-${offset}` };
}

export class ScriptedServer {
  readonly connections: ScriptedConnection[] = [];
  readonly #server: WebSocketServer;
  #wants = 0;

  private constructor(server: WebSocketServer) {
    this.#server = server;
    server.on('connection', (socket, request) => {
      this.connections.push(new ScriptedConnection(socket, request.url ?? ''));
    });
  }

  static async start(port = 0): Promise<ScriptedServer> {
    const server = new WebSocketServer({
      port,
      host: '127.0.0.1',
      handleProtocols: (offered) => (offered.has('tidings.1') ? 'tidings.1' : [...offered][0]!),
    });
    await once(server, 'listening');
    return new ScriptedServer(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}/socketServer`;
  }

  /** The next connection that this method has not given yet. */
  next(): Promise<ScriptedConnection> {
    const index = this.#wants++;
    return until(`connection number ${index + 1}`, () => this.connections[index]);
  }

  async stop(): Promise<void> {
    for (const { socket } of this.connections) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

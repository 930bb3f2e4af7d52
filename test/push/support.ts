/** Push servers for tests, and pages that talk to them: `ws` is the peer, over real sockets. They end with the test. */
import type { AddressInfo } from 'node:net';
import { WebSocket } from 'ws';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import type { Hello, ServerFrame, WireMessage, WirePosition } from '../../src/push/talk/wire.ts';
import { atEnd } from '../support/cleanups.ts';
import { until } from '../support/net.ts';

/** What each push server logs. */
const OF_EVERY_LIFE = new Set(['listening', 'started', 'draining', 'closed']);
export interface Running {
  push: PushServer;
  url: string;
  log: string[];
}

/** @param isReady false: don't wait for the store */
export async function startPush(
  options: PushServerOptions = {},
  { isReady = true }: { isReady?: boolean } = {},
): Promise<Running> {
  const log: string[] = [];
  const push = new PushServer({
    port: 0,
    host: '127.0.0.1',
    interceptors: [queryUser('user')],
    authorize: { subscribe: () => true },
    log: (level, message, { event }) => {
      if (!OF_EVERY_LIFE.has(event)) log.push(`${level}: ${message}`);
    },
    ...options,
  });
  atEnd(() => push.close());
  if (isReady) await push.ready;
  const { port } = await until('an open port', () => push.address() as AddressInfo | null);
  return { push, url: `ws://127.0.0.1:${port}/socketServer`, log };
}

/** A page: what it was sent, in the order in which it came. */
export class Page {
  readonly socket: WebSocket;
  /** Plain mode: text as strings, binary as Buffers. `tidings.1`: the frames. */
  readonly received: unknown[] = [];
  closeCode: number | undefined;
  refusal: number | undefined;

  constructor(url: string, user: string, protocols: string[] = [], headers: Record<string, string> = {}) {
    const address = new URL(url);
    if (user !== '') address.searchParams.set('user', user);
    this.socket = new WebSocket(address, protocols, { headers });
    atEnd(() => this.socket.terminate());
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.received.push(data);
      else
        this.received.push(protocols.includes('tidings.1') ? JSON.parse(data.toString()) : data.toString());
    });
    this.socket.on('close', (code) => {
      this.closeCode = code;
    });
    this.socket.on('unexpected-response', (_request, response) => {
      this.refusal = response.statusCode;
      this.socket.terminate();
    });
    this.socket.on('error', () => {});
  }

  static async plain(url: string, user: string): Promise<Page> {
    const page = new Page(url, user);
    await until('an open page', () => page.socket.readyState === WebSocket.OPEN);
    return page;
  }

  /** Opens in `tidings.1`, says hello and waits for the welcome. */
  static async open(url: string, user: string, hello: Omit<Hello, 'type'> = {}): Promise<Page> {
    const page = new Page(url, user, ['tidings.1']);
    await until('an open page', () => page.socket.readyState === WebSocket.OPEN);
    page.say({ type: 'hello', ...hello });
    await page.frame('welcome');
    return page;
  }

  say(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  frames<T extends ServerFrame['type']>(type: T): Extract<ServerFrame, { type: T }>[] {
    return (this.received as ServerFrame[]).filter((frame) => frame.type === type) as never;
  }

  /** The nth frame of a type, once it is there. */
  frame<T extends ServerFrame['type']>(type: T, n = 0): Promise<Extract<ServerFrame, { type: T }>> {
    return until(`${type} ${n}`, () => this.frames(type)[n]) as never;
  }

  messages(channel = 'inbox'): WireMessage[] {
    return this.frames('message').filter((message) => message.channel === channel);
  }

  data(channel = 'inbox'): unknown[] {
    return this.messages(channel).map((message) => message.data);
  }

  /** Where this page stands in a channel: what it would say in its next hello. */
  position(channel = 'inbox'): WirePosition | undefined {
    let position: WirePosition | undefined;
    for (const frame of this.received as ServerFrame[]) {
      if (frame.type === 'welcome') position = frame.channels[channel]?.position ?? position;
      else if ((frame.type === 'gap' || frame.type === 'subscribed') && frame.channel === channel) {
        position = frame.position;
      } else if (frame.type === 'message' && frame.channel === channel) {
        position = { epoch: frame.epoch, offset: frame.offset, id: frame.id };
      }
    }
    return position;
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.ended();
  }

  /** Cuts the connection, as a pulled cable would. */
  cut(): void {
    this.socket.terminate();
  }

  async ended(): Promise<number | undefined> {
    await until('the end of a page', () => this.socket.readyState === WebSocket.CLOSED);
    return this.refusal ?? this.closeCode;
  }
}

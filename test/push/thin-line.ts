/** A push server behind a line that a test makes thin. It is on a Unix socket: hardly anything hides in the kernel. */
import { once } from 'node:events';
import { type ClientRequest, createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { type Local, TcpProxy } from '../../src/prove/proxy.ts';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import type { Hello } from '../../src/push/talk/wire.ts';
import { atEnd } from '../support/cleanups.ts';
import { until } from '../support/net.ts';

let count = 0;

export interface ThinLine {
  push: PushServer;
  line: TcpProxy;
  port: number;
  /** Of the Unix socket, past the line. */
  path: string;
  close(): Promise<void>;
}

export interface Way {
  server?: Server;
  /** By TCP, where the kernel keeps megabytes. */
  isTcp?: boolean;
}

export async function startBehindThinLine(
  options: PushServerOptions,
  { server: http = createServer(), isTcp = false }: Way = {},
): Promise<ThinLine> {
  const path = join(tmpdir(), `tidings-thin-${process.pid}-${count++}.sock`);
  if (isTcp) http.listen(0, '127.0.0.1');
  else http.listen(path);
  await once(http, 'listening');
  const push = new PushServer({
    server: http,
    sockjs: { prefix: '/sockjs' },
    interceptors: [queryUser('user')],
    authorize: { subscribe: () => true, publish: () => true },
    log: () => {},
    ...options,
  });
  await push.ready;
  const line = await TcpProxy.start(() => [isTcp ? (http.address() as AddressInfo).port : path]);
  let isClosed = false;
  const close = async (): Promise<void> => {
    if (isClosed) return;
    isClosed = true;
    await line.close();
    await push.close();
    // One of HTTP/2 has no such thing: its clients end.
    http.closeAllConnections?.();
    http.close();
  };
  atEnd(close);
  return { push, line, port: line.port, path, close };
}

export type Door = 'WebSocket' | 'SockJS polling' | 'SockJS streaming' | 'SockJS websocket' | 'SockJS raw';
export const DOORS: readonly Door[] = [
  'WebSocket',
  'SockJS polling',
  'SockJS streaming',
  'SockJS websocket',
  'SockJS raw',
];

/** A page at any door, which can stop reading: what it was sent, in `tidings.1` parsed. */
export class AnyPage {
  readonly received: unknown[] = [];
  closeCode: number | undefined;
  readonly #door: Door;
  readonly #isTidings: boolean;
  readonly #place: Local;
  #sendingPlace: Local;
  readonly #session: string;
  #socket: WebSocket | undefined;
  #response: IncomingMessage | undefined;
  #isPaused = false;
  #isOpen = false;

  private constructor(door: Door, isTidings: boolean, place: Local, user: string) {
    this.#door = door;
    this.#isTidings = isTidings;
    this.#place = place;
    this.#sendingPlace = place;
    this.#session = `/sockjs/000/p${process.pid}x${count++}`;
    const query = `?user=${user}${isTidings ? '&protocol=tidings.1' : ''}`;
    if (door === 'SockJS polling') this.#receive('xhr', query);
    else if (door === 'SockJS streaming') this.#receive('xhr_streaming', query);
    else {
      const path = {
        WebSocket: '/socketServer',
        'SockJS raw': '/sockjs/websocket',
        'SockJS websocket': `${this.#session}/websocket`,
      }[door];
      const base = typeof place === 'string' ? `ws+unix:${place}:` : `ws://127.0.0.1:${place}`;
      const protocols = isTidings && door !== 'SockJS websocket' ? ['tidings.1'] : [];
      const socket = new WebSocket(`${base}${path}${query}`, protocols);
      this.#socket = socket;
      socket.on('error', () => {});
      socket.on('open', () => {
        this.#isOpen = true;
      });
      socket.on('message', (data: Buffer) => this.#frame(data.toString(), door === 'SockJS websocket'));
      socket.on('close', (code) => {
        this.closeCode ??= code;
      });
    }
  }

  static async open(
    door: Door,
    isTidings: boolean,
    place: Local,
    user: string,
    hello: Omit<Hello, 'type'> = {},
  ): Promise<AnyPage> {
    const page = new AnyPage(door, isTidings, place, user);
    await until('an open page', () => page.#isOpen);
    if (isTidings) {
      void page.say({ type: 'hello', ...hello });
      await until('a welcome', () => page.of('welcome').length > 0);
    }
    return page;
  }

  of(type: string): Record<string, unknown>[] {
    return (this.received as Record<string, unknown>[]).filter((frame) => frame?.['type'] === type);
  }

  /** What came from logs. */
  get data(): unknown[] {
    if (!this.#isTidings) return this.received;
    return this.of('message').map(({ data }) => data);
  }

  /** Resolves when it was taken, as far as that can be known. */
  async say(...frames: unknown[]): Promise<number> {
    const texts = frames.map((frame) => (typeof frame === 'string' ? frame : JSON.stringify(frame)));
    if (this.#door === 'SockJS websocket') this.#socket!.send(JSON.stringify(texts));
    else if (this.#socket !== undefined) for (const text of texts) this.#socket.send(text);
    else return this.#post('xhr_send', '', JSON.stringify(texts));
    return 204;
  }

  /** From here on its POSTs go there. */
  sendBy(place: Local): void {
    this.#sendingPlace = place;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket?.pause();
    this.#response?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#socket?.resume();
    this.#response?.resume();
  }

  close(): void {
    this.#isPaused = true;
    this.#socket?.terminate();
    this.#response?.destroy();
  }

  #post(transport: string, query: string, body: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const asked = this.#request(transport, query, (response) => {
        response.resume();
        resolve(response.statusCode!);
      });
      asked.on('error', reject);
      asked.end(body);
    });
  }

  #request(transport: string, query: string, answered: (response: IncomingMessage) => void): ClientRequest {
    const path = `${this.#session}/${transport}${query}`;
    const place = transport === 'xhr_send' ? this.#sendingPlace : this.#place;
    const where = typeof place === 'string' ? { socketPath: place } : { host: '127.0.0.1', port: place };
    return request({ ...where, path, method: 'POST', agent: false }, answered);
  }

  #receive(transport: string, query: string): void {
    const asked = this.#request(transport, query, (response) => {
      this.#response = response;
      if (this.#isPaused) response.pause();
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (text) => {
        const lines = `${rest}${text}`.split('\n');
        rest = lines.pop()!;
        for (const line of lines) this.#frame(line, true);
      });
      response.on('end', () => {
        if (this.closeCode === undefined) this.#receive(transport, query);
      });
      response.on('error', () => {});
    });
    asked.on('error', () => {});
    asked.end();
  }

  #frame(text: string, isFramed: boolean): void {
    if (!isFramed) this.#take(text);
    else if (text === 'o') this.#isOpen = true;
    else if (text[0] === 'a') for (const each of JSON.parse(text.slice(1))) this.#take(each);
    else if (text[0] === 'c') this.closeCode ??= JSON.parse(text.slice(1))[0];
  }

  #take(text: string): void {
    this.received.push(this.#isTidings ? JSON.parse(text) : text);
  }
}

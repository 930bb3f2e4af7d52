/** A SockJS server with the services of protocol suites, and an HTTP client that sees each chunk and each byte. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach } from 'node:test';
import { type SockJsOptions, SockJsServer } from '../../src/sockjs/index.ts';
import { until } from '../support/net.ts';

const leftovers: (() => void)[] = [];

// A test that fails must not keep its process.
afterEach(() => {
  for (const remove of leftovers.splice(0)) remove();
});

export const echo: SockJsOptions['handler'] = {
  message: (session, data) => {
    session.send(data.toString());
  },
};

export interface Service {
  http: Server;
  port: number;
  sockjs: SockJsServer;
}

/** One service below `/echo` on a server of its own, patient with a test that is slow between two requests. */
export async function startSockJs(options: Partial<SockJsOptions> = {}): Promise<Service> {
  const http = createServer((_request, response) => response.writeHead(418).end('application'));
  http.keepAliveTimeout = 0;
  const patient = { disconnectDelay: 120_000, heartbeatDelay: 120_000 };
  const sockjs = new SockJsServer({ server: http, prefix: '/echo', handler: echo, ...patient, ...options });
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  leftovers.push(() => {
    sockjs.close();
    http.close();
    http.closeAllConnections();
  });
  return { http, port: (http.address() as AddressInfo).port, sockjs };
}

export interface RequestParts {
  headers?: Record<string, string>;
  body?: string;
  version?: '1.0' | '1.1';
}

/** An answer whose body can be read as it comes. */
export class Answer {
  readonly status: number;
  readonly version: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly wire: Wire;
  /** The whole body, where `whole` has read it. */
  body = '';

  constructor(wire: Wire, head: string) {
    this.wire = wire;
    const [first = '', ...lines] = head.split('\r\n');
    const match = /^HTTP\/(\d\.\d) (\d{3}) /.exec(first);
    if (match === null) throw new Error(`no HTTP answer: ${JSON.stringify(head)}`);
    this.version = match[1]!;
    this.status = Number(match[2]);
    this.headers = Object.fromEntries(
      lines.filter(Boolean).map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
  }

  header(name: string): string | undefined {
    return this.headers[name];
  }

  /** The next chunk's data, exactly as it was cut; empty at the end. */
  async chunk(): Promise<string> {
    const size = Number.parseInt(await this.wire.line(), 16);
    const data = await this.wire.read(size + 2);
    return data.toString('utf8', 0, size);
  }

  async whole(): Promise<this> {
    if (this.status === 204 || this.status === 304 || this.status === 101) return this;
    if (this.header('transfer-encoding') === 'chunked') {
      for (let chunk = await this.chunk(); chunk !== ''; chunk = await this.chunk()) this.body += chunk;
    } else if (this.header('content-length') !== undefined) {
      this.body = (await this.wire.read(Number(this.header('content-length')))).toString();
    } else {
      await this.wire.ended();
      this.body = this.wire.received.toString();
    }
    return this;
  }

  close(): void {
    this.wire.socket.destroy();
  }
}

/** One connection, read byte by byte. */
export class Wire {
  readonly socket: Socket;
  received: Buffer = Buffer.alloc(0);
  isEnded = false;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    leftovers.push(() => this.socket.destroy());
    this.socket.on('data', (chunk) => {
      this.received = Buffer.concat([this.received, chunk]);
    });
    this.socket.on('close', () => {
      this.isEnded = true;
    });
    this.socket.on('end', () => {
      this.isEnded = true;
    });
    this.socket.on('error', () => {});
  }

  /** Sends a request and reads the head of its answer. */
  async request(method: string, path: string, parts: RequestParts = {}): Promise<Answer> {
    const { headers = {}, body, version = '1.1' } = parts;
    const lines = [`${method} ${path} HTTP/${version}`, 'Host: localhost'];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    if (method === 'POST') lines.push(`Content-Length: ${Buffer.byteLength(body ?? '')}`);
    this.socket.write(`${lines.join('\r\n')}\r\n\r\n${body ?? ''}`);
    const end = await until(
      'the head of an answer',
      () => this.received.indexOf('\r\n\r\n') + 1 || (this.isEnded ? -1 : 0),
      60_000,
    );
    if (end < 0) throw new Error('ended without an answer');
    return new Answer(this, (await this.read(end + 3)).toString('latin1'));
  }

  async read(size: number): Promise<Buffer> {
    await until(`${size} bytes`, () => this.received.length >= size || this.isEnded, 60_000);
    if (this.received.length < size) throw new Error(`ended after ${this.received.length} of ${size} bytes`);
    const data = this.received.subarray(0, size);
    this.received = this.received.subarray(size);
    return data;
  }

  async line(): Promise<string> {
    await until('a line', () => this.received.includes('\r\n') || this.isEnded, 60_000);
    return (await this.read(this.received.indexOf('\r\n') + 2)).toString('latin1').trimEnd();
  }

  ended(): Promise<boolean> {
    return until('the end of the connection', () => this.isEnded, 60_000);
  }
}

/** The requests of one server, each on a connection of its own. */
export function client(port: number) {
  const open = (method: string) => (path: string, parts?: RequestParts) =>
    new Wire(port).request(method, path, parts);
  const whole = (method: string) => async (path: string, parts?: RequestParts) => {
    const answer = await (await open(method)(path, parts)).whole();
    answer.close();
    return answer;
  };
  return {
    get: whole('GET'),
    post: whole('POST'),
    options: whole('OPTIONS'),
    /** The head is there, the body still to be read. */
    openGet: open('GET'),
    openPost: open('POST'),
  };
}

let count = 0;
/** The path of a session that nobody has had before. */
export function session(service = '/echo'): string {
  count++;
  return `${service}/000/s${process.pid}-${count}`;
}

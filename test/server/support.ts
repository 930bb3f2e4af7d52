/** Servers to test against, and a peer that speaks bytes: its own framing, so that it agrees with nobody by design. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createHttpsServer, type Server as HttpsServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach } from 'node:test';
import { type WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';

const leftovers: (() => void)[] = [];

/** Called when the test is over, whichever way it ended. */
export function cleanUp(remove: () => void): void {
  leftovers.push(remove);
}

// A test that fails must not keep its process.
afterEach(() => {
  for (const remove of leftovers.splice(0)) remove();
});

export async function listen(
  options: WebSocketServerOptions = {},
): Promise<{ wss: WebSocketServer; port: number; url: string }> {
  const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  await once(wss, 'listening');
  leftovers.push(() => {
    for (const client of wss.clients ?? []) client.terminate();
    wss.close();
  });
  const { port } = wss.address() as AddressInfo;
  return { wss, port, url: `ws://127.0.0.1:${port}` };
}

export async function listenHttp(
  server: Server = createServer(),
): Promise<{ http: Server; port: number; url: string }> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  leftovers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  const { port } = server.address() as AddressInfo;
  return { http: server, port, url: `ws://127.0.0.1:${port}` };
}

/** An https.Server with a certificate of its own. */
export async function listenTls(): Promise<{ server: HttpsServer; port: number }> {
  const certificates = makeCertificates();
  leftovers.push(() => certificates.remove());
  const server = createHttpsServer({
    cert: readFileSync(certificates.certFile),
    key: readFileSync(certificates.keyFile),
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  leftovers.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

export interface Frame {
  opcode: number;
  fin: boolean;
  rsv1: boolean;
  payload: Buffer;
}

/** Any frame, right or wrong. Masked, as a client's must be, unless told otherwise. */
export function frame(
  opcode: number,
  payload: string | Buffer = '',
  { fin = true, rsv = 0, masked = true }: { fin?: boolean; rsv?: number; masked?: boolean } = {},
): Buffer {
  const data = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | (rsv << 4) | opcode];
  const mask = masked ? 0x80 : 0;
  if (data.length < 126) head.push(mask | data.length);
  else if (data.length < 65536) head.push(mask | 126, data.length >> 8, data.length & 255);
  else
    head.push(
      mask | 127,
      0,
      0,
      0,
      0,
      data.length >>> 24,
      (data.length >> 16) & 255,
      (data.length >> 8) & 255,
      data.length & 255,
    );
  if (!masked) return Buffer.concat([Buffer.from(head), data]);
  const key = [0x12, 0x34, 0x56, 0x78];
  return Buffer.concat([Buffer.from(head), Buffer.from(key), data.map((byte, i) => byte ^ key[i & 3]!)]);
}

export function closeFrame(code: number, reason = ''): Buffer {
  return frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
}

export const REQUEST =
  'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n';

/** A socket that keeps what it is sent. */
export class RawPeer {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  isEnded = false;
  isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    leftovers.push(() => socket.destroy());
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
    });
    socket.on('end', () => {
      this.isEnded = true;
    });
    socket.on('close', () => {
      this.isClosed = true;
    });
    // A reset is one of the ways in which a server may end it.
    socket.on('error', () => {});
  }

  /** What has come and was not taken. Joined when asked for: many megabytes may come. */
  get received(): Buffer {
    if (this.#chunks.length !== 1) this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  set received(rest: Buffer) {
    this.#chunks = [rest];
  }

  static async connect(port: number, allowHalfOpen = false): Promise<RawPeer> {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen, noDelay: true });
    await once(socket, 'connect');
    return new RawPeer(socket);
  }

  /** Connects and does the opening handshake. */
  static async open(port: number, headers = '', allowHalfOpen = false): Promise<RawPeer> {
    const peer = await RawPeer.connect(port, allowHalfOpen);
    peer.socket.write(`${REQUEST}${headers}\r\n`);
    const head = await peer.head();
    if (!head.startsWith('HTTP/1.1 101 ')) throw new Error(`not upgraded: ${head}`);
    return peer;
  }

  /** The head of an HTTP response, which is taken out of `received`. */
  async head(): Promise<string> {
    const end = await until('the end of a head', () => this.received.indexOf('\r\n\r\n') + 1);
    const head = this.received.toString('latin1', 0, end + 3);
    this.received = this.received.subarray(end + 3);
    return head;
  }

  /** All there will be, once the other side has ended it. */
  async rest(): Promise<string> {
    await until('the end of the connection', () => this.isEnded || this.isClosed);
    return this.received.toString('latin1');
  }

  /** The next frame, which is taken out of `received`. */
  async frame(): Promise<Frame> {
    const taken = await until('a frame', () => takeFrame(this.received));
    this.received = taken.rest;
    return taken.frame;
  }

  /** The close code of the next frame, which must be a close frame. */
  async closeCode(): Promise<number> {
    const { opcode, payload } = await this.frame();
    if (opcode !== 8) throw new Error(`not a close frame: opcode ${opcode}, ${payload.length} bytes`);
    return payload.length === 0 ? 1005 : payload.readUInt16BE(0);
  }

  async closed(): Promise<void> {
    await until('the socket is closed', () => this.isClosed);
  }
}

function takeFrame(bytes: Buffer): { frame: Frame; rest: Buffer } | undefined {
  if (bytes.length < 2) return undefined;
  let length = bytes[1]! & 0x7f;
  let at = 2;
  if (length === 126) {
    if (bytes.length < 4) return undefined;
    length = bytes.readUInt16BE(2);
    at = 4;
  } else if (length === 127) {
    if (bytes.length < 10) return undefined;
    length = Number(bytes.readBigUInt64BE(2));
    at = 10;
  }
  if ((bytes[1]! & 0x80) !== 0) throw new Error('a server masked a frame');
  if (bytes.length < at + length) return undefined;
  const frame = {
    opcode: bytes[0]! & 15,
    fin: bytes[0]! >= 0x80,
    rsv1: (bytes[0]! & 0x40) !== 0,
    payload: bytes.subarray(at, at + length),
  };
  return { frame, rest: bytes.subarray(at + length) };
}

/** What a server that echoes says to this. */
export async function echoed(websocket: WebSocket, text: string): Promise<string> {
  websocket.send(text);
  const [data] = await once(websocket, 'message');
  return String(data);
}

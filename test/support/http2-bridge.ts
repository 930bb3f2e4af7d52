/**
 * Between HTTP/1.1 and HTTP/2, for programs that speak only the former: a WebSocket comes by one and goes on by the other,
 * its bytes as they are.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, request } from 'node:http';
import http2, { type ClientHttp2Session, type Http2Stream, type IncomingHttpHeaders } from 'node:http2';
import type { AddressInfo, Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { acceptKey } from '../../src/protocol/index.ts';

/** What of a handshake goes on as it came. */
const OFFER = ['sec-websocket-version', 'sec-websocket-protocol', 'sec-websocket-extensions', 'origin'];

/** A port of HTTP/1.1, each of whose WebSockets is a stream of `session`. */
export async function toStreams(session: ClientHttp2Session): Promise<number> {
  const server = createServer();
  server.on('upgrade', (incoming, socket, head) => {
    const fields = { ...offerOf(incoming.headers), ':path': incoming.url ?? '/' };
    const stream = session.request(
      {
        ...fields,
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'http',
        ':authority': 'bridge',
      },
      { endStream: false },
    );
    stream.once('response', (headers) => {
      const key = incoming.headers['sec-websocket-key'] as string;
      const first =
        headers[':status'] === 200
          ? `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n`
          : `HTTP/1.1 ${headers[':status']} No\r\nConnection: close\r\n`;
      socket.write(`${first}${linesOf(headers)}\r\n`);
      stream.write(head);
      join(socket, stream);
    });
    endTogether(socket, stream);
  });
  return portOf(server);
}

/** A port of HTTP/2 without TLS, each of whose WebSockets goes on to `port` as an upgrade. */
export async function toUpgrades(port: number): Promise<number> {
  const server = http2.createServer({
    settings: { enableConnectProtocol: true, maxConcurrentStreams: 1000 },
  });
  server.on('stream', (stream, headers) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      path: headers[':path'],
      headers: {
        ...offerOf(headers),
        Connection: 'Upgrade',
        Upgrade: 'websocket',
        'Sec-WebSocket-Key': Buffer.alloc(16, 'k').toString('base64'),
      },
    });
    stream.on('error', () => outgoing.destroy());
    outgoing.on('error', () => stream.close(http2.constants.NGHTTP2_CANCEL));
    outgoing.on('response', ({ statusCode = 500 }: IncomingMessage) => {
      stream.respond({ ':status': statusCode }, { endStream: true });
      outgoing.destroy();
    });
    outgoing.on('upgrade', (response, socket, head) => {
      stream.respond({ ':status': 200, ...offerOf(response.headers) });
      endTogether(socket, stream);
      stream.write(head);
      join(stream, socket);
    });
    outgoing.end();
  });
  return portOf(server as unknown as Server);
}

function offerOf(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => OFFER.includes(name)));
}

function linesOf(headers: IncomingHttpHeaders): string {
  return Object.entries(offerOf(headers))
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

function join(one: Duplex, other: Duplex): void {
  one.pipe(other);
  other.pipe(one);
}

function endTogether(socket: Duplex, stream: Http2Stream): void {
  socket.on('error', () => {});
  stream.on('error', () => {});
  socket.on('close', () => {
    if (!stream.closed) stream.close(http2.constants.NGHTTP2_CANCEL);
  });
  stream.on('close', () => (stream.rstCode === 0 ? socket.end() : socket.destroy()));
}

async function portOf(server: Server | ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

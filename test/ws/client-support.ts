/** Servers for tests of the client: they keep what they were asked. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecureServer, type Server as SecureServer } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { type ClientOptions, WebSocket, WebSocketServer } from '../../src/ws.ts';
import { cleanUp } from '../server/support.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';

export const certificates = makeCertificates();
after(() => certificates.remove());

export interface Place {
  server: Server | SecureServer;
  url: string;
  port: number;
  /** What it was asked for: request line and header lines as they were on the wire. */
  requests: IncomingMessage[];
  /** Its connections, TLS or not. */
  sockets: Set<Socket>;
}

/** A server that takes WebSockets, or answers with a redirect, and keeps what it was asked. */
export async function place(
  redirect: (request: IncomingMessage) => string | undefined = () => undefined,
  { isSecure = false, socketPath = '' } = {},
): Promise<Place> {
  const requests: IncomingMessage[] = [];
  const server = isSecure
    ? createSecureServer({
        cert: readFileSync(certificates.certFile),
        key: readFileSync(certificates.keyFile),
        ca: certificates.ca,
        requestCert: true,
        rejectUnauthorized: false,
      })
    : createServer();
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    // A client that gives up may reset it.
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  });
  const wss = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    requests.push(request);
    socket.on('error', () => {});
    const location = redirect(request);
    if (location !== undefined) socket.end(`HTTP/1.1 302 Found\r\nLocation: ${location}\r\n\r\n`);
    else wss.handleUpgrade(request, socket, head, () => {});
  });
  if (socketPath === '') server.listen(0, '127.0.0.1');
  else server.listen(socketPath);
  await once(server, 'listening');
  cleanUp(() => {
    for (const client of wss.clients ?? []) client.terminate();
    server.close();
    server.closeAllConnections();
  });
  const { port } = (socketPath === '' ? server.address() : { port: 0 }) as AddressInfo;
  const url = socketPath === '' ? `${isSecure ? 'wss' : 'ws'}://127.0.0.1:${port}` : `ws+unix:${socketPath}:`;
  return { server, url, port, requests, sockets };
}

/** Waits until a server has no connection, and has accepted all that were begun. */
export async function noConnection({ port, sockets }: Place, what = ''): Promise<void> {
  const probe = connect(port, '127.0.0.1');
  await once(probe, 'connect');
  const { localPort } = probe;
  await until('the probe is accepted', () => [...sockets].some(({ remotePort }) => remotePort === localPort));
  probe.destroy();
  await until(`no connection is left ${what}`, () => sockets.size === 0);
}

/** Connects, and gives the request that the server got; the connection is ended. */
export async function request(
  to: Place,
  address: string | URL,
  options: object = {},
): Promise<{ request: IncomingMessage; client: WebSocket }> {
  const before = to.requests.length;
  const client = new WebSocket(address, options as ClientOptions);
  const errors: Error[] = [];
  client.on('error', (error) => errors.push(error));
  await until('the end of the handshake', () => client.readyState === WebSocket.OPEN || errors.length > 0);
  assert.deepEqual(errors, []);
  client.terminate();
  return { request: to.requests[before]!, client };
}

export function lines(message: IncomingMessage): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at < message.rawHeaders.length; at += 2) {
    pairs.push([message.rawHeaders[at]!, message.rawHeaders[at + 1]!]);
  }
  return pairs;
}

export function line(message: IncomingMessage, name: string): string[] {
  return lines(message)
    .filter(([each]) => each.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value);
}

export function socketFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-client-'));
  cleanUp(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

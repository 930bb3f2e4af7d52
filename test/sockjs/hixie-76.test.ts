/** Messages of hixie-76 over TLS, where Node tells no more than when a write ends. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { connect } from 'node:tls';
import type { Transport } from '../../src/server/transport.ts';
import { certificates, SERVERS } from '../support/http-servers.ts';
import { until } from '../support/net.ts';
import { startSockJs } from './support.ts';

const KEYS = { 'Sec-WebSocket-Key1': '4 @1  46546xW%0l 1 5', 'Sec-WebSocket-Key2': '12998 5 Y3 1  .P00' };
const LONG = 20_000_000;

test('a long message over TLS leaves in slices, so that who reads slowly is seen to read, and the close comes behind all', async () => {
  const server = SERVERS.TLS();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  let transport: Transport | undefined;
  const opened = (one: Transport): void => {
    transport = one;
  };
  await startSockJs({ server, hixie76: true, maxBuffered: 10 * LONG, handler: { opened } });
  const { port } = server.address() as AddressInfo;
  const socket = connect({ port, host: '127.0.0.1', ca: certificates.ca, servername: 'localhost' });
  after(() => socket.destroy());
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  const headers = Object.entries({ Host: 'localhost', Connection: 'Upgrade', Upgrade: 'WebSocket', ...KEYS });
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`GET /echo/000/slow/websocket HTTP/1.1\r\n${head}\r\naaaaaaaa`);
  await until('the session', () => received.endsWith('\0o\xff'));
  received = '';
  socket.pause();
  transport!.send('x'.repeat(LONG));
  await until('the line to be full', () => !socket.readableFlowing && transport!.backlog > 0);
  const backlogs = new Set<number>();
  socket.on('data', () => {
    backlogs.add(transport!.backlog);
    socket.pause();
    // The server has its turn after each read.
    setImmediate(() => socket.resume());
  });
  socket.resume();
  await until('most of it', () => received.length > 0.7 * LONG);
  // A write of all of it has a beginning and an end only.
  assert.ok(backlogs.size > 3, `${backlogs.size} steps`);
  transport!.send('y');
  transport!.close(3000, 'done');
  await once(socket, 'end');
  assert.ok(
    received === `\0a["${'x'.repeat(LONG)}"]\xff\0a["y"]\xff\0c[3000,"done"]\xff\xff\0`,
    received.slice(-60),
  );
});

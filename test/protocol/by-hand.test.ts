/** The server of `tidings/protocol`'s first comment, on real sockets, with ws as its client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import Ws from 'ws';
import {
  Closing,
  encodeFrame,
  FIN,
  FrameReader,
  formatResponse,
  Opcode,
  type ProtocolError,
  parseRequest,
} from '../../src/protocol/index.ts';
import { until } from '../support/net.ts';

interface Served {
  socket: Socket;
  closing: Closing;
  close(payload: Buffer | undefined): void;
}

function serve(socket: Socket): Served {
  const closing = new Closing();
  const send = (opcode: number, payload: Buffer): void => {
    socket.write(encodeFrame(FIN | opcode, payload));
  };
  const close = (payload: Buffer | undefined): void => {
    if (payload !== undefined) {
      send(Opcode.CLOSE, payload);
      closing.isSent = true;
    }
    if (closing.isComplete) socket.end();
  };
  const reader = new FrameReader(
    {
      onMessage: (data) => send(Opcode.TEXT, data),
      onPing: (data) => send(Opcode.PONG, data),
      onPong: () => {},
      onClose: (code, reason) => close(closing.receive(code, reason)),
    },
    { role: 'server', maxPayload: 1000 },
  );
  socket.on('data', (chunk) => {
    try {
      reader.read(chunk, 0, chunk.length);
    } catch (error) {
      close(closing.fail(error as ProtocolError));
    }
  });
  return { socket, closing, close };
}

async function listen(): Promise<{ url: string; served: Served[]; stop(): void }> {
  const served: Served[] = [];
  const server = createServer((socket) => {
    socket.once('data', (head) => {
      const [requestLine, ...lines] = head.toString('latin1').split('\r\n');
      const fields = lines.filter((line) => line.includes(': ')).map((line) => line.split(': ', 2));
      const headers = Object.fromEntries(fields.map(([name, value]) => [name!.toLowerCase(), value]));
      const [method, url] = requestLine!.split(' ');
      const { key } = parseRequest({ method, url, httpVersion: '1.1', headers } as never);
      socket.write(formatResponse({ key, protocol: '', extensions: undefined }));
      served.push(serve(socket));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `ws://127.0.0.1:${port}`, served, stop: () => server.close() };
}

test('§7.1: the client closes, the server answers and ends the connection', async () => {
  const { url, served, stop } = await listen();
  const client = new Ws(url);
  await once(client, 'open');
  client.send('hello');
  assert.equal(String((await once(client, 'message'))[0]), 'hello');
  client.close(4001, 'bye');
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  assert.deepEqual([code, String(reason)], [4001, 'bye']);
  assert.equal(served[0]!.closing.wasClean, true);
  stop();
});

test('§7.1: the server closes, and ends the connection when the client has answered', async () => {
  const { url, served, stop } = await listen();
  const client = new Ws(url);
  await once(client, 'open');
  const { closing, close } = await until('the connection', () => served[0]);
  close(closing.begin(1001, 'going'));
  close(closing.begin(1000));
  const [code, reason] = (await once(client, 'close')) as [number, Buffer];
  assert.deepEqual([code, String(reason)], [1001, 'going']);
  assert.deepEqual([closing.wasClean, closing.code], [true, 1001]);
  stop();
});

test('§7.1.7: a message over the limit is answered with 1009 and the end', async () => {
  const { url, served, stop } = await listen();
  const client = new Ws(url);
  await once(client, 'open');
  client.send('x'.repeat(1001));
  const [code] = (await once(client, 'close')) as [number];
  assert.equal(code, 1009);
  assert.equal(served[0]!.closing.code, 1006);
  stop();
});

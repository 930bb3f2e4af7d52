/** The proxy breaks connections in the ways that it says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { until } from '../support/net.ts';
import { TcpProxy } from './proxy.ts';

test('however its delay changes, bytes come in the order in which they were sent', async (t) => {
  let received = '';
  const server = createServer((socket) => {
    socket
      .on('error', () => {})
      .on('data', (chunk) => {
        received += chunk;
      });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const proxy = await TcpProxy.start(() => [(server.address() as AddressInfo).port]);
  t.after(async () => {
    await proxy.close();
    server.close();
  });
  const client = connect({ port: proxy.port, host: '127.0.0.1', noDelay: true });
  let sent = '';
  for (let i = 0; i < 400; i++) {
    proxy.delay = i % 40 < 20 ? 30 + (i % 7) : 0;
    const text = `${i} `;
    client.write(text);
    sent += text;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  client.write('end');
  await until('all of it', () => received.length === sent.length + 3);
  assert.equal(received, `${sent}end`);
  client.destroy();
});

test('it passes on, cuts on both sides, and lets packets vanish without either side hearing of it', async (t) => {
  const accepted: Socket[] = [];
  const upstream = createServer((socket) => {
    accepted.push(socket.on('error', () => {}));
    socket.on('data', (data) => socket.write(data));
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const proxy = await TcpProxy.start(() => [(upstream.address() as AddressInfo).port]);
  proxy.label = (chunk) => (chunk.includes('marked') ? 'marked' : undefined);
  t.after(async () => {
    await proxy.close();
    upstream.close();
  });
  const open = async (text: string): Promise<{ socket: Socket; received: string[]; closed: boolean }> => {
    const socket = connect(proxy.port, '127.0.0.1');
    const side = { socket, received: [] as string[], closed: false };
    socket.on('error', () => {});
    socket.on('close', () => {
      side.closed = true;
    });
    socket.on('data', (data) => side.received.push(data.toString()));
    socket.write(text);
    await until(`the echo of ${text}`, () => side.received.join('') === text);
    return side;
  };

  const first = await open('plain');
  const second = await open('marked');
  assert.equal(proxy.size, 2);

  assert.equal(proxy.freeze({ label: 'marked' }), 1);
  second.socket.write(' lost');
  first.socket.write(' on');
  await until('the other connection to go on', () => first.received.join('') === 'plain on');
  accepted[1]!.destroy();

  assert.equal(proxy.cut({ share: 0.5 }), 1);
  await until('the cut', () => first.closed && accepted[0]!.destroyed);
  assert.deepEqual([second.received.join(''), second.closed], ['marked', false]);

  proxy.refuses = true;
  const refused = connect(proxy.port, '127.0.0.1').on('error', () => {});
  await new Promise((resolve) => refused.once('close', resolve));
});

test('over a thin line all bytes come, in order, and no more in a second than were said', async (t) => {
  const text = '0123456789'.repeat(5000);
  const upstream = createServer((socket) => {
    socket.on('error', () => {}).on('data', () => socket.write(text));
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const proxy = await TcpProxy.start(() => [(upstream.address() as AddressInfo).port]);
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  t.after(async () => {
    client.destroy();
    await proxy.close();
    upstream.close();
  });
  let received = '';
  client.on('data', (chunk) => {
    received += chunk;
  });
  await until('the connection', () => proxy.throttle(100_000) === 1);
  const start = performance.now();
  client.write('go');
  await until('all of it', () => received.length >= text.length);
  assert.equal(received, text);
  assert.ok(performance.now() - start > 300, 'sooner than the line has it');
});

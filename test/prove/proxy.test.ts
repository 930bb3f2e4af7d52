/** The proxy breaks connections in the ways that it says. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { type Target, TcpProxy } from '../../src/prove/proxy.ts';
import { Random } from '../../src/prove/random.ts';
import { makeCertificates } from '../support/certificates.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

/** A server of TCP, and a proxy before it. */
async function proxied(t: TestContext, serve: (socket: Socket) => unknown): Promise<TcpProxy> {
  const upstream = createServer((socket) => serve(socket.on('error', () => {}))).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const proxy = await TcpProxy.start(() => [(upstream.address() as AddressInfo).port]);
  t.after(async () => {
    await proxy.close();
    upstream.close();
  });
  return proxy;
}

/** One that sends back what it gets. */
async function echoing(t: TestContext): Promise<{ proxy: TcpProxy; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const proxy = await proxied(t, (socket) => {
    accepted.push(socket);
    socket.on('data', (data) => socket.write(data));
  });
  return { proxy, accepted };
}

/** A server of TLS that accepts connections and never says anything. */
async function silent(t: TestContext): Promise<{ target: { url: URL }; accepted: Socket[] }> {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket.on('error', () => {}).resume());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of accepted) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { target: { url: new URL(`https://127.0.0.1:${port}`) }, accepted };
}

test('a target that is not reached in time is passed over, and who waits for one in vain is told', async (t) => {
  const { target, accepted } = await silent(t);
  const echo = createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  const targets: Target[] = [target, (echo.address() as AddressInfo).port];
  const proxy = await TcpProxy.start(() => targets);
  t.after(async () => {
    await proxy.close();
    echo.close();
  });
  proxy.patience = 50;
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  client.write('hello');
  assert.equal(String((await once(client, 'data'))[0]), 'hello');
  client.destroy();
  targets.pop();
  const other = connect(proxy.port, '127.0.0.1').on('error', () => {});
  await until('its end', () => other.closed);
  assert.match(proxy.refusal!, /no connection within 50 ms/);
  assert.equal(accepted.length, 2);
});

test('what is still being dialed ends with the proxy, and with the client', async (t) => {
  const { target, accepted } = await silent(t);
  const proxy = await TcpProxy.start(() => [target]);
  const ended = (n: number) => until('it to end', () => accepted[n]?.closed === true);
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  await until('it to be dialed', () => accepted.length === 1);
  client.resetAndDestroy();
  await ended(0);
  connect(proxy.port, '127.0.0.1').on('error', () => {});
  await until('it to be dialed', () => accepted.length === 2);
  await proxy.close();
  await ended(1);
});

test('however its delay changes, bytes come in the order in which they were sent', async (t) => {
  let received = '';
  const proxy = await proxied(t, (socket) => {
    socket.on('data', (chunk) => {
      received += chunk;
    });
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
  const { proxy, accepted } = await echoing(t);
  proxy.label = (chunk) => (chunk.includes('marked') ? 'marked' : undefined);
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
  const proxy = await proxied(t, (socket) => socket.on('data', () => socket.write(text)));
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
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

test('over a thin line the end comes behind all bytes, and letting it go on disorders none', async (t) => {
  const text = Array.from({ length: 10_000 }, (_, i) => `${i} `).join('');
  const proxy = await proxied(t, (socket) => socket.end(text));
  proxy.rate = 100_000;
  const client = connect(proxy.port, '127.0.0.1');
  let received = '';
  client.on('data', (chunk) => {
    received += chunk;
    proxy.stall()();
  });
  await once(client, 'end');
  assert.equal(received, text);
});

test('a line that is thin no more has the rest of a large chunk at once', async (t) => {
  const text = '0123456789'.repeat(6000);
  const proxy = await proxied(t, (socket) => socket.on('data', () => socket.write(text)));
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
  let received = '';
  client.on('data', (chunk) => {
    received += chunk;
  });
  await until('the connection', () => proxy.throttle(1000) === 1);
  client.write('go');
  await until('the first of it', () => received.length > 0);
  assert.ok(received.length < text.length);
  proxy.throttle(Number.POSITIVE_INFINITY);
  await until('all of it', () => received.length === text.length);
  assert.equal(received, text);
});

test('whatever is done to a line, one upon the other, all bytes come in order', async (t) => {
  const random = new Random(11);
  let sent = '';
  const proxy = await proxied(t, (socket) =>
    socket.on('data', () => {
      const text = `${sent.length},`.repeat(1000 + random.below(20_000));
      sent += text;
      socket.write(text);
    }),
  );
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  t.after(() => client.destroy());
  let received = '';
  client.on('data', (chunk) => {
    received += chunk;
  });
  for (let i = 0; i < 60; i++) {
    client.write('go');
    const resumes: (() => void)[] = [];
    for (let n = random.below(4); n >= 0; n--) {
      const what = random.below(4);
      if (what === 0) resumes.push(proxy.stall());
      else if (what === 1) proxy.throttle(2000 + random.below(1_000_000));
      else if (what === 2) proxy.throttle(Number.POSITIVE_INFINITY);
      else proxy.delay = random.below(2) * random.below(30);
      await new Promise((resolve) => setTimeout(resolve, random.below(10)));
    }
    for (const resume of resumes) resume();
  }
  proxy.throttle(Number.POSITIVE_INFINITY);
  await until('all of it', () => received.length === sent.length);
  assert.ok(received === sent);
});

test('it cuts where half of what comes next has come through', async (t) => {
  const proxy = await proxied(t, (socket) => socket.on('data', () => socket.write('0123456789')));
  let received = '';
  const client = connect(proxy.port, '127.0.0.1').on('error', () => {});
  client.on('data', (chunk) => {
    received += chunk;
  });
  const closed = once(client, 'close');
  client.write('go');
  await until('the first', () => received.length === 10);
  assert.equal(proxy.breakNext(), 1);
  client.write('go');
  await closed;
  assert.equal(received, '012345678901234');
  assert.equal(proxy.size, 0);
});

test('what is frozen can be cut alone, and comes to an end on both sides', async (t) => {
  const { proxy, accepted } = await echoing(t);
  const clients = [1, 2].map(() => connect(proxy.port, '127.0.0.1').on('error', () => {}));
  await until('both', () => accepted.length === 2);
  assert.equal(proxy.freeze({ share: 0.5 }), 1);
  assert.equal(proxy.cut({ isFrozen: true }), 1);
  await until('the end of one', () => clients.filter(({ destroyed }) => destroyed).length === 1);
  assert.equal(accepted.filter(({ destroyed }) => !destroyed).length, 1);
});

for (const isSecure of [false, true]) {
  test(
    `a server of ${isSecure ? 'HTTPS' : 'HTTP'} is asked by its own name, by a client that speaks plain HTTP`,
    needs('openssl'),
    async (t) => {
      const answer = (request: IncomingMessage, response: ServerResponse): void => {
        response.end(`${request.headers.host} ${request.url}`);
      };
      const files = makeCertificates();
      const certificate = { key: readFileSync(files.keyFile), cert: readFileSync(files.certFile) };
      files.remove();
      const upstream = isSecure ? createHttpsServer(certificate, answer) : createHttpServer(answer);
      upstream.listen(0, '127.0.0.1');
      await once(upstream, 'listening');
      const { port } = upstream.address() as AddressInfo;
      const url = new URL(`${isSecure ? 'wss' : 'ws'}://localhost:${port}/`);
      const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0';
      const proxy = await TcpProxy.start(() => [{ url }]);
      t.after(async () => {
        process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before;
        if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED'];
        await proxy.close();
        upstream.close();
        upstream.closeAllConnections();
      });
      const response = await fetch(`http://127.0.0.1:${proxy.port}/path`, {
        headers: { 'x-host': 'host: nobody' },
      });
      assert.equal(await response.text(), `localhost:${port} /path`);
    },
  );
}

/**
 * Attacks on HTTP/2 that were published, by frames made by hand: each costs what it costs over HTTP/1.1 at most, and harms
 * nobody else. On a port of our own and on a server of the application's.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import type { AddressInfo } from 'node:net';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { SessionWatch } from '../../src/server/session-watch.ts';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import {
  asking,
  block,
  CANCEL,
  Flag,
  frame,
  RawClient,
  settings,
  Type,
  uint32,
} from '../support/http2-frames.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';

const { END_HEADERS, END_STREAM } = Flag;
const WINDOW = 4;
const FRAME_SIZE = 5;
/** Attempts of a session that may come to nothing, and what of them is under way when it is told. */
const FUTILE = 100 + 30;

/** The stream of the nth request of a client. */
const nth = (i: number): number => 2 * i + 1;
const open = (i: number, path?: string): Buffer => frame(Type.HEADERS, END_HEADERS, nth(i), asking(path));
const reset = (i: number): Buffer => frame(Type.RST_STREAM, 0, nth(i), uint32(CANCEL));

for (const isOwn of [true, false]) {
  const where = isOwn ? 'a port of our own' : 'a server of the application’s';
  describe(where, needs('openssl'), () => {
    let certificates: Certificates;
    let wss: WebSocketServer;
    let port: number;
    let stop: () => void;
    /** How often the application was asked, and told how that ended. */
    let asked = 0;
    let told = 0;
    let bystanders: WebSocket[];
    const raws: RawClient[] = [];

    before(async () => {
      certificates = makeCertificates();
      const options: WebSocketServerOptions = {
        path: '/ws',
        maxPayload: 1_000_000,
        // Longer than a busy machine lets us stand still: a session without a stream is cut after it.
        handshakeTimeout: 2_000,
        interceptors: [
          {
            before({ url = '' }) {
              asked++;
              if (url.endsWith('?waits')) return new Promise(setImmediate);
              if (url.endsWith('?hangs')) return new Promise(() => {});
              if (url.endsWith('?refused')) return Promise.resolve(new Response('no', { status: 401 }));
              return undefined;
            },
            after: () => void told++,
          },
        ],
      };
      if (isOwn) {
        const tls = { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) };
        wss = new WebSocketServer({ ...options, port: 0, host: '127.0.0.1', tls });
        await once(wss, 'listening');
        stop = () => {};
      } else {
        const server = http2.createServer();
        // Without a listener Node would end the process.
        server.on('sessionError', () => {});
        wss = new WebSocketServer({ ...options, server });
        server.listen(0, '127.0.0.1');
        await once(server, 'listening');
        stop = () => server.close();
      }
      port = (wss.address() as AddressInfo).port;
      wss.on('connection', (websocket) => {
        websocket.on('error', () => {});
        websocket.on('message', (data, isBinary) => websocket.send(data as Buffer, { binary: isBinary }));
      });
    });
    after(() => {
      wss?.close();
      stop?.();
      certificates?.remove();
    });

    const join = async (): Promise<WebSocket> => {
      const session = isOwn ? undefined : http2.connect(`http://127.0.0.1:${port}`);
      session?.on('error', () => {});
      const scheme = isOwn ? 'wss' : 'ws';
      const websocket = new WebSocket(`${scheme}://localhost:${port}/ws`, {
        ca: certificates.ca,
        http2: session ?? true,
      });
      websocket.on('close', () => session?.close());
      await once(websocket, 'open');
      return websocket;
    };
    beforeEach(async () => {
      bystanders = [await join()];
      if (isOwn) {
        const old = new WebSocket(`wss://localhost:${port}/ws`, { ca: certificates.ca });
        await once(old, 'open');
        bystanders.push(old);
      }
      asked = told = 0;
    });
    afterEach(async () => {
      for (const raw of raws.splice(0)) raw.end();
      for (const each of bystanders) await serves(each);
      await until('nobody but the bystanders', () => wss.clients.size === bystanders.length);
      // Whatever was asked about is over.
      await until('the end of all handshakes', () => asked === told);
      for (const each of bystanders) each.terminate();
      await until('nobody', () => wss.clients.size === 0);
    });

    const raw = async (own?: Buffer): Promise<RawClient> => {
      const client = await RawClient.connect(port, isOwn ? certificates.ca : undefined, own);
      raws.push(client);
      return client;
    };
    const serves = async (websocket: WebSocket): Promise<void> => {
      const text = String(Math.random());
      websocket.send(text);
      const [data] = await once(websocket, 'message');
      assert.equal(String(data), text);
    };
    /** That the attacker's own stream, of an open WebSocket, still answers. */
    const echoes = async (client: RawClient, stream: number): Promise<boolean> => {
      const sofar = client.received.get(stream) ?? 0;
      client.write(frame(Type.DATA, 0, stream, Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x78])));
      await until(
        'an echo, or the end',
        () => client.isClosed || (client.received.get(stream) ?? 0) >= sofar + 3,
      );
      return !client.isClosed;
    };

    for (const [what, path] of [
      ['accepted at once', '/ws'],
      ['asked about', '/ws?waits'],
      ['asked about for ever', '/ws?hangs'],
    ] as const) {
      test(`rapid reset (CVE-2023-44487), ${what}: the application is not asked more than a session’s share`, async () => {
        const client = await raw();
        await client.flood(10_000, (i) => Buffer.concat([open(i, path), reset(i)]));
        await until('the end', () => client.isClosed || client.goaway !== undefined);
        assert.ok(asked <= FUTILE, `${asked} were asked about`);
      });
    }

    test('rapid reset: what is open on the session lives on, and takes no more', async () => {
      const client = await raw();
      client.write(open(0));
      await until('the answer', () => client.of(Type.HEADERS, 1).length === 1);
      await client.flood(150, (i) => Buffer.concat([open(i + 1, '/ws?waits'), reset(i + 1)]));
      await until('GOAWAY', () => client.goaway !== undefined);
      assert.equal(client.goaway, 0);
      assert.equal(await echoes(client, 1), true);
      const before = asked;
      client.write(open(200));
      assert.equal(await echoes(client, 1), true);
      assert.equal(asked, before);
    });

    test('who takes as many as people do is never told to leave', async () => {
      const client = await raw();
      for (let i = 0; i < 60; i++) client.write(open(i, '/ws?waits'), reset(i));
      client.write(open(60));
      await until('the answer', () => client.of(Type.HEADERS, nth(60)).length === 1);
      assert.equal(client.goaway, undefined);
    });

    // Each makes the server reset the stream, or end the session, by breaking a rule on it.
    for (const [what, malformed] of [
      ['WINDOW_UPDATE by nothing', (i: number) => frame(Type.WINDOW_UPDATE, 0, nth(i), uint32(0))],
      [
        'a window beyond its bounds',
        (i: number) => frame(Type.WINDOW_UPDATE, 0, nth(i), uint32(2 ** 31 - 1)),
      ],
      [
        'a stream that depends on itself',
        (i: number) => frame(Type.PRIORITY, 0, nth(i), Buffer.from([...uint32(nth(i)), 1])),
      ],
      ['PRIORITY of a wrong length', (i: number) => frame(Type.PRIORITY, 0, nth(i), Buffer.alloc(4))],
      [
        'DATA behind the end',
        (i: number) =>
          Buffer.concat([frame(Type.DATA, END_STREAM, nth(i)), frame(Type.DATA, 0, nth(i), Buffer.alloc(9))]),
      ],
      [
        'HEADERS behind the end',
        (i: number) => Buffer.concat([frame(Type.DATA, END_STREAM, nth(i)), open(i)]),
      ],
    ] as const) {
      test(`MadeYouReset (CVE-2025-8671), ${what}: no more are asked about than may come to nothing, or be open`, async () => {
        const client = await raw();
        await client.flood(3_000, (i) => Buffer.concat([open(i, '/ws?hangs'), malformed(i)]));
        await until('what became of it', () => client.isClosed || client.goaway !== undefined || asked > 0);
        assert.ok(asked <= 1000 + FUTILE, `${asked} were asked about`);
      });
    }

    test('refusals: who is refused time and again has to come by another connection', async () => {
      const client = await raw();
      await client.flood(3_000, (i) => open(i, '/ws?refused'));
      await until('GOAWAY', () => client.isClosed || client.goaway !== undefined);
      assert.ok(asked <= FUTILE, `${asked} were asked about`);
    });

    const fields: Record<
      'method' | 'protocol' | 'scheme' | 'authority' | 'path' | 'version',
      [string, string]
    > = {
      method: [':method', 'CONNECT'],
      protocol: [':protocol', 'websocket'],
      scheme: [':scheme', 'http'],
      authority: [':authority', 'localhost'],
      path: [':path', '/ws'],
      version: ['sec-websocket-version', '13'],
    };
    const { method, protocol, scheme, authority, path, version } = fields;
    for (const [what, ...sent] of [
      ['no scheme', method, protocol, authority, path, version],
      ['no authority', method, protocol, scheme, path, version],
      ['no path', method, protocol, scheme, authority, version],
      ['two protocols', method, protocol, protocol, scheme, authority, path, version],
      ['two paths', method, protocol, scheme, authority, path, [':path', '/other'], version],
      ['a pseudo-field behind others', method, scheme, authority, path, version, protocol],
      ['a pseudo-field of nobody', method, protocol, scheme, authority, path, [':other', '1'], version],
      ['a field in capitals', method, protocol, scheme, authority, path, version, ['Origin', 'x']],
      [
        'a field of a connection',
        method,
        protocol,
        scheme,
        authority,
        path,
        version,
        ['upgrade', 'websocket'],
      ],
      [
        'transfer-encoding',
        method,
        protocol,
        scheme,
        authority,
        path,
        version,
        ['transfer-encoding', 'chunked'],
      ],
      ['another method', [':method', 'GET'], protocol, scheme, authority, path, version],
    ] as [string, ...[string, string][]][]) {
      test(`RFC 9113 §8: a request with ${what} is reset, and nobody is asked`, async () => {
        const client = await raw();
        client.write(frame(Type.HEADERS, END_HEADERS, 1, block(sent)), open(1));
        await until('the next', () => client.of(Type.HEADERS, 3).length === 1 || client.isClosed);
        assert.equal(client.isClosed, false);
        assert.equal(client.of(Type.RST_STREAM, 1).length, 1);
        assert.equal(asked, 1);
        assert.equal(await echoes(client, 3), true);
      });
    }

    test('padding, priorities, fields in parts, trailers, and every size of frames are what they are', async () => {
      const client = await raw();
      const all = asking();
      const padded = Buffer.concat([
        Buffer.from([7]),
        uint32(0),
        Buffer.from([15]),
        all.subarray(0, 40),
        Buffer.alloc(7),
      ]);
      client.write(
        frame(Type.HEADERS, Flag.PADDED | Flag.PRIORITY, 1, padded),
        frame(Type.CONTINUATION, 0, 1, all.subarray(40, 41)),
        frame(Type.CONTINUATION, END_HEADERS, 1, all.subarray(41)),
      );
      await until('the answer', () => client.of(Type.HEADERS, 1).length === 1);
      // A message of a byte a frame, padded, while the sizes change.
      const message = Buffer.from([0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('hello')]);
      for (const [i, byte] of message.entries()) {
        client.write(settings([FRAME_SIZE, i % 2 ? 16_384 : 16_777_215]));
        client.write(frame(Type.DATA, Flag.PADDED, 1, Buffer.from([3, byte, 0, 0, 0])));
      }
      await until('the echo', () => client.received.get(1) === 7);
      client.write(frame(Type.HEADERS, END_HEADERS | END_STREAM, 1, block([['x-trailer', '1']])));
      await until('its end', () => wss.clients.size === bystanders.length);
      client.write(open(1));
      await until('another', () => client.of(Type.HEADERS, 3).length === 1);
    });

    test('a size of frames that can be none ends its own session only', async () => {
      for (const size of [16_383, 16_777_216]) {
        const client = await raw();
        client.write(open(0));
        await until('the answer', () => client.of(Type.HEADERS, 1).length === 1);
        client.write(settings([FRAME_SIZE, size]));
        await until('the end', () => client.isClosed || client.goaway !== undefined);
        client.end();
      }
    });

    test('CONTINUATION flood (CVE-2024-27316): the session ends, and nothing was asked', async () => {
      for (const part of [
        frame(Type.CONTINUATION, 0, 1),
        frame(Type.CONTINUATION, 0, 1, block([['x', 'y'.repeat(9000)]])),
      ]) {
        const client = await raw();
        client.write(frame(Type.HEADERS, 0, 1, asking()));
        await client.flood(20_000, () => part);
        await until('the end', () => client.isClosed || client.goaway);
      }
      assert.equal(asked, 0);
    });

    test('half a block of fields holds up nobody but its own session', async () => {
      const client = await raw();
      client.write(frame(Type.HEADERS, 0, 1, asking()));
      for (const each of bystanders) await serves(each);
      assert.equal(asked, 0);
    });

    for (const [what, part] of [
      ['SETTINGS', settings([WINDOW, 65_535])],
      ['PING', frame(Type.PING, 0, 0, Buffer.alloc(8))],
    ] as const) {
      for (const reads of [true, false]) {
        test(`${what} flood (CVE-2019-9512, 9515), ${reads ? 'read' : 'its answers not read'}: the session ends`, async () => {
          const client = await raw();
          if (!reads) client.socket.pause();
          let sent = 0;
          // Where it is read quickly, each is answered and forgotten, as a ping of RFC 6455 is.
          while (!client.isClosed && sent < 1_000_000) {
            await client.flood(20_000, () => part);
            sent += 20_000;
            client.frames.length = 0;
            for (const each of bystanders) await serves(each);
          }
          if (!reads) await until('the end', () => client.isClosed);
        });
      }
    }

    test('empty DATA flood (CVE-2019-9518): the session ends, or what it says costs no message', async () => {
      const client = await raw();
      client.write(open(0));
      await until('the answer', () => client.of(Type.HEADERS, 1).length === 1);
      await client.flood(200_000, () => frame(Type.DATA, 0, 1));
      await until('the end', () => client.isClosed || client.goaway !== undefined);
    });

    test('fields without a name (CVE-2019-9516) make nothing grow', async () => {
      const client = await raw();
      const nameless = block(Array.from({ length: 50 }, () => ['', ''] as const));
      await client.flood(500, (i) =>
        frame(Type.HEADERS, END_HEADERS, nth(i), Buffer.concat([asking('/ws?refused'), nameless])),
      );
      assert.ok(asked <= FUTILE, `${asked} were asked about`);
    });

    test('HPACK bomb: fields that say much by few bytes are refused before they are asked about', async () => {
      const client = await raw();
      // One long field enters the table, and is named 3,000 times by a byte each.
      const long = block([['x-long', 'y'.repeat(3900)]]);
      long[0] = 0x40;
      const bomb = Buffer.concat([asking('/ws'), long, Buffer.alloc(3000, 0x80 | 62)]);
      const before = process.memoryUsage().rss;
      await client.flood(500, (i) =>
        frame(
          Type.HEADERS,
          END_HEADERS,
          nth(i),
          i === 0 ? bomb : Buffer.concat([asking('/ws'), Buffer.alloc(3000, 0x80 | 62)]),
        ),
      );
      await until('resets', () => client.isClosed || client.of(Type.RST_STREAM).length > 0);
      assert.equal(asked, 0);
      // All that was named is 6 GB.
      assert.ok(process.memoryUsage().rss - before < 200_000_000);
    });

    test('a session has so many streams at once as it was told, and more are refused', async () => {
      const client = await raw();
      await client.flood(5_000, (i) => open(i));
      await until('what became of it', () => client.isClosed || client.of(Type.RST_STREAM).length > 0);
      assert.ok(asked <= 1000, `${asked} were asked about`);
      assert.ok(wss.clients.size <= 1000 + bystanders.length);
    });

    test('a thousand silent streams are kept, and cost nobody a thing', async () => {
      const client = await raw();
      await client.flood(1000, (i) => open(i));
      await until('all of them', () => client.of(Type.HEADERS).length === 1000);
      for (const each of bystanders) await serves(each);
      assert.equal(await echoes(client, nth(500)), true);
      assert.equal(wss.clients.size, 1000 + bystanders.length);
    });

    test('churn of PRIORITY, of windows and of what nobody knows is nothing', async () => {
      const client = await raw();
      client.write(open(0));
      await until('the answer', () => client.of(Type.HEADERS, 1).length === 1);
      const before = process.memoryUsage().rss;
      for (const part of [
        (i: number) => frame(Type.PRIORITY, 0, nth(i % 5000) + 2, Buffer.from([...uint32(0), i & 255])),
        (i: number) => frame(Type.WINDOW_UPDATE, 0, i % 2, uint32(1)),
        () => frame(0x42, 0, 0, Buffer.alloc(8)),
      ]) {
        await client.flood(50_000, part);
        for (const each of bystanders) await serves(each);
      }
      assert.ok(process.memoryUsage().rss - before < 100_000_000);
    });

    test('streams that are half closed: a closing handshake is not waited for, and nothing stays', async () => {
      const client = await raw();
      await client.flood(300, (i) => Buffer.concat([open(i), frame(Type.DATA, END_STREAM, nth(i))]));
      await until('the answers', () => client.isClosed || client.of(Type.HEADERS).length === 300);
      await until('their end', () => wss.clients.size === bystanders.length);
    });

    test('Data Dribble (CVE-2019-9511): a window of nothing, and of one byte, hold up their own stream', async () => {
      const client = await raw(settings([WINDOW, 0]));
      client.readsOn = false;
      client.write(open(0), open(1));
      await until('both', () => client.of(Type.HEADERS).length === 2);
      const [slow] = [...wss.clients].slice(bystanders.length);
      for (let i = 0; i < 100; i++) slow!.send(Buffer.alloc(10_000));
      // What is not taken is still here, and known.
      assert.ok(slow!.bufferedAmount >= 1_000_000 - 70_000, `${slow!.bufferedAmount}`);
      for (let i = 0; i < 2_000; i++) client.write(frame(Type.WINDOW_UPDATE, 0, 1, uint32(1)));
      await until('the dribble', () => (client.received.get(1) ?? 0) === 2_000);
      client.write(frame(Type.WINDOW_UPDATE, 0, 3, uint32(65_535)));
      assert.equal(await echoes(client, 3), true);
      for (const each of bystanders) await serves(each);
    });

    test('a window that shrinks below what is under way (RFC 9113 §6.9.2), and grows again', async () => {
      const client = await raw();
      client.readsOn = false;
      client.write(open(0));
      await until('the answer', () => client.of(Type.HEADERS).length === 1);
      const [peer] = [...wss.clients].slice(bystanders.length);
      peer!.send(Buffer.alloc(60_000));
      await until('the first', () => (client.received.get(1) ?? 0) > 60_000);
      client.write(settings([WINDOW, 1]));
      peer!.send(Buffer.alloc(60_000));
      client.write(settings([WINDOW, 200_000]), frame(Type.WINDOW_UPDATE, 0, 0, uint32(200_000)));
      await until('the second', () => (client.received.get(1) ?? 0) > 120_000);
    });
  });
}

test('a session that Node has given up without a word is ended, with its WebSockets', async (t) => {
  const server = http2.createServer();
  server.on('sessionError', () => {});
  const wss = new WebSocketServer({ server });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    wss.close();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const watch = new SessionWatch(50);
  server.on('session', (session) => watch.add(session));
  const closes: number[] = [];
  wss.on('connection', (websocket) => {
    websocket.on('error', () => {});
    websocket.on('close', (code) => closes.push(code));
    websocket.on('message', (data) => websocket.send(data));
  });
  const [dead, alive] = [await RawClient.connect(port), http2.connect(`http://127.0.0.1:${port}`)];
  t.after(() => dead.end());
  const kept = new WebSocket(`ws://127.0.0.1:${port}/`, { http2: alive });
  await once(kept, 'open');
  dead.write(open(0));
  await until('the answer', () => dead.of(Type.HEADERS).length === 1);
  dead.write(frame(Type.PRIORITY, 0, 1, Buffer.alloc(4)));
  await until('the end', () => closes.length === 1);
  assert.deepEqual(closes, [1006]);
  await until('the end of its connection', () => dead.isClosed);
  // Who answers, and says nothing else, stays.
  await new Promise((resolve) => setTimeout(resolve, 500));
  kept.send('x');
  await once(kept, 'message');
  alive.destroy();
});

test('an attempt that comes to nothing costs less than one over HTTP/1.1', needs('openssl'), async (t) => {
  const certificates = makeCertificates();
  t.after(() => certificates.remove());
  const tls = { cert: readFileSync(certificates.certFile), key: readFileSync(certificates.keyFile) };
  let asked = 0;
  const before = (): Promise<undefined> => {
    asked++;
    return new Promise(() => {});
  };
  const options = { port: 0, host: '127.0.0.1', tls, handshakeTimeout: 10_000, interceptors: [{ before }] };
  const wss = new WebSocketServer(options);
  await once(wss, 'listening');
  t.after(() => wss.close());
  const { port } = wss.address() as AddressInfo;
  const cost = async (times: number, attempt: () => Promise<unknown>): Promise<number> => {
    const begin = process.cpuUsage();
    await attempt();
    const { user, system } = process.cpuUsage(begin);
    return (user + system) / times;
  };
  const fields = 'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
  const head = `GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${fields}\r\n\r\n`;
  const byUpgrade = await cost(200, async () => {
    for (let i = 0; i < 200; i++) {
      const socket = tlsConnect({ port, ca: certificates.ca, servername: 'localhost' });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write(head);
      await until('the question', () => asked > i);
      socket.destroy();
    }
  });
  asked = 0;
  const byStream = await cost(400, async () => {
    for (let n = 0; n < 4; n++) {
      const client = await RawClient.connect(port, certificates.ca);
      await client.flood(100, (i) => Buffer.concat([open(i), reset(i)]));
      await until('the questions', () => asked >= 100 * n + 99);
      client.end();
    }
  });
  assert.ok(byStream < byUpgrade, `${byStream} µs over HTTP/2, ${byUpgrade} µs over HTTP/1.1`);
});

/** What programs do with the classes themselves, beside calling them: as ws does it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import * as tidings from '../../src/ws.ts';
import { cleanUp, frame, listen, listenHttp, RawPeer, REQUEST } from '../server/support.ts';
import { until } from '../support/net.ts';
import { implementations, serve } from './implementations.ts';

for (const implementation of implementations) {
  const { name, WebSocket, WebSocketServer } = implementation;

  test(`${name}: the states are constants of the class and its objects, read-only and enumerable`, () => {
    for (const [value, state] of ['CONNECTING', 'OPEN', 'CLOSING', 'CLOSED'].entries()) {
      const descriptor = { value, writable: false, enumerable: true, configurable: false };
      assert.deepEqual(Object.getOwnPropertyDescriptor(WebSocket, state), descriptor);
      assert.deepEqual(Object.getOwnPropertyDescriptor(WebSocket.prototype, state), descriptor);
      assert.throws(() => Object.assign(WebSocket, { [state]: 7 }), TypeError);
    }
  });

  test(`${name}: attributes are enumerable accessors of the prototype`, () => {
    for (const attribute of ['bufferedAmount', 'extensions', 'isPaused', 'protocol', 'readyState', 'url']) {
      const descriptor = Object.getOwnPropertyDescriptor(WebSocket.prototype, attribute)!;
      const { enumerable, configurable, get, set } = descriptor;
      assert.deepEqual([enumerable, configurable, typeof get, set], [true, true, 'function', undefined]);
    }
    for (const attribute of ['binaryType', 'onopen', 'onmessage', 'onclose', 'onerror']) {
      const descriptor = Object.getOwnPropertyDescriptor(WebSocket.prototype, attribute)!;
      const { enumerable, configurable, get, set } = descriptor;
      assert.deepEqual(
        [enumerable, configurable, typeof get, typeof set],
        [true, true, 'function', 'function'],
      );
    }
  });

  test(`${name}: a class of the application's hears open on a server, too, before anybody has its object`, async () => {
    const seen: string[] = [];
    class Session extends WebSocket {
      constructor(...parameters: ConstructorParameters<typeof WebSocket>) {
        super(...parameters);
        this.on('open', () => {
          seen.push(`open ${this.readyState}`);
          this.send('welcome');
        });
        this.addEventListener('open', ({ target }) => seen.push(`event ${target === this}`));
      }
    }
    const { wss, url } = await serve(implementation, { WebSocket: Session as typeof WebSocket });
    wss.on('connection', () => seen.push('connection'));
    const client = new tidings.WebSocket(url);
    cleanUp(() => client.terminate());
    assert.equal(String((await once(client, 'message'))[0]), 'welcome');
    assert.deepEqual(seen, ['open 1', 'event true', 'connection']);
  });

  for (const [wrapped, wrap] of [
    ['a Proxy', <T extends object>(target: T): T => new Proxy(target, {})],
    ['an object made from one', <T extends object>(target: T): T => Object.create(target) as T],
  ] as const) {
    test(`${name}: ${wrapped} of a WebSocket does what the WebSocket does`, async () => {
      const { wss, url } = await serve(implementation);
      wss.on('connection', (raw) => {
        const socket = wrap(raw);
        socket.pause();
        assert.ok(socket.isPaused);
        socket.resume();
        socket.on('message', (data, isBinary) => {
          assert.equal(socket.readyState, socket.OPEN);
          assert.equal(socket.bufferedAmount, 0);
          socket.ping('p');
          socket.send(data, { binary: isBinary });
        });
        socket.addEventListener('close', (event) => {
          assert.ok(event.wasClean);
          seen.push(`closed ${event.code}`);
        });
      });
      const seen: string[] = [];
      const client = wrap(new WebSocket(url));
      cleanUp(() => client.terminate());
      client.onmessage = ({ data }) => {
        seen.push(String(data));
        client.close(4000);
      };
      await once(client, 'open');
      assert.equal(client.protocol, '');
      assert.equal(client.url, `${url}/`);
      client.send('hello');
      await once(client, 'close');
      await until('the server’s end', () => seen.length === 2);
      assert.deepEqual(seen, ['hello', 'closed 4000']);
    });

    test(`${name}: ${wrapped} of a WebSocketServer does what the server does`, async () => {
      const { wss: raw, port } = await serve(implementation);
      const wss = wrap(raw);
      assert.equal((wss.address() as { port: number }).port, port);
      const connected = once(wss, 'connection');
      await RawPeer.open(port);
      await connected;
      assert.equal(wss.clients.size, 1);
      for (const client of wss.clients) client.terminate();
      await new Promise<void>((resolve) => wss.close(() => resolve()));
    });
  }

  test(`${name}: a subclass with fields and methods of any name keeps them`, async () => {
    class Mine extends WebSocket {
      connection = 'mine';
      state = 'mine';
      handler = 'mine';
      protocols = 'mine';
      attributes2 = 'mine';
    }
    const { wss, url } = await serve(implementation, { WebSocket: Mine });
    const connected = once(wss, 'connection') as Promise<[Mine]>;
    const client = new Mine(url);
    cleanUp(() => client.terminate());
    const [socket] = await connected;
    assert.ok(socket instanceof Mine && socket instanceof WebSocket);
    assert.deepEqual([socket.connection, socket.state, socket.handler], ['mine', 'mine', 'mine']);
    socket.send('hello');
    assert.equal(String((await once(client, 'message'))[0]), 'hello');
  });

  test(`${name}: _socket is the socket that was upgraded, and that of the request`, async () => {
    const { http, port } = await listenHttp();
    const accepted = once(http, 'connection') as Promise<[Socket]>;
    const server = new WebSocketServer({ server: http });
    cleanUp(() => server.close());
    const connected = once(server, 'connection');
    const peer = await RawPeer.open(port);
    const [socket, request] = await connected;
    const [first] = await accepted;
    assert.equal(socket._socket, first);
    assert.equal(request.socket, first);
    first.destroy();
    await peer.closed();
  });

  test(`${name}: pause and resume within a message listener change nothing`, async () => {
    const { wss, port } = await serve(implementation);
    const seen: string[] = [];
    wss.on('connection', (socket) =>
      socket.on('message', (data) => {
        seen.push(String(data));
        socket.pause();
        socket.resume();
      }),
    );
    const peer = await RawPeer.open(port);
    for (let i = 0; i < 3; i++) {
      peer.socket.write(Buffer.concat([frame(1, `${i}a`), frame(1, `${i}b`)]));
      await until('both', () => seen.length === 2 * i + 2);
    }
    assert.deepEqual(seen, ['0a', '0b', '1a', '1b', '2a', '2b']);
  });

  test(`${name}: who was paused at the end stays so`, async () => {
    const { wss, port } = await serve(implementation);
    const connected = once(wss, 'connection');
    const peer = await RawPeer.open(port);
    const [socket] = (await connected) as [InstanceType<typeof WebSocket>];
    socket.pause();
    socket.terminate();
    await once(socket, 'close');
    assert.ok(socket.isPaused);
    socket.resume();
    assert.ok(socket.isPaused);
    await peer.closed();

    const ended = new WebSocket(`ws://127.0.0.1:${port}`);
    ended.pause();
    assert.equal(ended.isPaused, false);
    await once(ended, 'open');
    ended.terminate();
    await once(ended, 'close');
    ended.pause();
    assert.equal(ended.isPaused, false);
  });

  test(`${name}: a version that is not spoken is answered with those that are`, async () => {
    const { port } = await serve(implementation);
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST.replace('Version: 13', 'Version: 9')}\r\n`);
    assert.match(await peer.head(), /\r\nSec-WebSocket-Version: 13, 8\r\n/);
  });

  test(`${name}: compressed data that is none is an error with zlib's code and number`, async () => {
    const { wss, port } = await serve(implementation, { perMessageDeflate: true });
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => {
      wss.on('connection', (socket) => socket.on('error', resolve));
    });
    const peer = await RawPeer.open(port, 'Sec-WebSocket-Extensions: permessage-deflate\r\n');
    peer.socket.write(frame(2, Buffer.from([0x22, 0xfa, 0xec, 0x78]), { rsv: 4 }));
    const { code, errno } = await failed;
    assert.deepEqual([code, errno], ['Z_DATA_ERROR', -3]);
  });

  test(`${name}: the error event comes once, whatever fails behind the first failure`, async () => {
    const { wss, port } = await serve(implementation);
    const errors: unknown[] = [];
    let unread: (error: Error) => void = () => {};
    let called = 0;
    const blob = Object.assign(new Blob(['x']), {
      arrayBuffer: () => new Promise((_resolve, reject) => (unread = reject)),
    });
    wss.on('connection', (socket) => {
      socket.on('error', (error) => {
        errors.push((error as NodeJS.ErrnoException).code);
        unread(new Error('unread'));
      });
      socket.send(blob as Blob, () => called++);
      socket.on('close', () => errors.push('closed'));
    });
    const peer = await RawPeer.open(port);
    peer.socket.write(Buffer.concat([frame(3), frame(3)]));
    await until('the end', () => errors.includes('closed'));
    assert.deepEqual(errors, ['WS_ERR_INVALID_OPCODE', 'closed']);
    assert.equal(called, 1);
    peer.socket.destroy();
  });

  test(`${name}: options that were not given have ws's defaults in server.options`, () => {
    const { options } = new WebSocketServer({ noServer: true });
    const { maxPayload, clientTracking, skipUTF8Validation, autoPong, verifyClient, handleProtocols } =
      options;
    assert.deepEqual(
      { maxPayload, clientTracking, skipUTF8Validation, autoPong, verifyClient, handleProtocols },
      {
        maxPayload: 104_857_600,
        clientTracking: true,
        skipUTF8Validation: false,
        autoPong: true,
        verifyClient: null,
        handleProtocols: null,
      },
    );
    assert.equal(options.WebSocket, WebSocket);
  });
}

test('the server’s public face has nothing of what its connections use', () => {
  const wss = new tidings.WebSocketServer({ noServer: true });
  for (const name of ['closed', 'subscribe', 'unsubscribe']) assert.equal(name in wss, false);
  assert.deepEqual(
    Object.keys(wss).filter((key) => !key.startsWith('_')),
    ['options', 'clients'],
  );
});

test('ProtocolError is what a broken frame is reported with', async () => {
  const { wss, port } = await listen();
  const failed = new Promise<Error>((resolve) => {
    wss.on('connection', (ws) => ws.on('error', resolve));
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(3));
  assert.ok((await failed) instanceof tidings.ProtocolError);
});

for (const [how, leave] of [
  ['it closes', (peer) => peer.socket.write(frame(8, Buffer.from([3, 232])))],
  ['it breaks the protocol', (peer) => peer.socket.write(frame(3))],
  ['it ends its side', (peer) => peer.socket.end()],
  [
    'it does not read',
    (peer, ws) => {
      peer.socket.pause();
      while (ws.send(Buffer.alloc(1_000_000)) !== 'dropped');
    },
  ],
] as [string, (peer: RawPeer, ws: tidings.WebSocket) => void][]) {
  test(`publish does not count a peer that is leaving, as long as that takes: ${how}`, async () => {
    // It does not end its connection: only the timeout would.
    const { wss, port } = await listen({ maxBackpressure: 5_000_000, closeTimeout: 1_000_000 });
    const connected = once(wss, 'connection') as Promise<[tidings.WebSocket]>;
    const peer = await RawPeer.open(port);
    const [ws] = await connected;
    ws.on('error', () => {});
    ws.subscribe('news');
    assert.equal(wss.publish('news', 'x'), 1);
    const counts: number[] = [];
    const look = (): number => counts.push(wss.publish('news', 'y'));
    ws.on('error', look);
    leave(peer, ws);
    await until('it is leaving', () => ws.readyState !== tidings.WebSocket.OPEN);
    look();
    assert.deepEqual(new Set(counts), new Set([0]));
    peer.socket.destroy();
  });
}

test('publish counts those who are there: who has left or is leaving is not subscribed', async () => {
  const { wss, port } = await listen();
  const sockets: tidings.WebSocket[] = [];
  wss.on('connection', (ws) => {
    ws.subscribe('news');
    sockets.push(ws);
  });
  await Promise.all(Array.from({ length: 5 }, () => RawPeer.open(port)));
  await until('all', () => sockets.length === 5);
  assert.equal(wss.publish('news', 'x'), 5);
  sockets[0]!.close();
  sockets[1]!.terminate();
  assert.equal(wss.publish('news', 'x'), 3);
  await until('one less', () => wss.clients.size === 4);
  for (const ws of sockets) ws.subscribe('late');
  sockets[0]!.unsubscribe('news');
  assert.equal(wss.publish('late', 'x'), 3);
  assert.equal(wss.publish('nobody', 'x'), 0);
  sockets[2]!.unsubscribe('late');
  assert.equal(wss.publish('late', 'x'), 2);
});

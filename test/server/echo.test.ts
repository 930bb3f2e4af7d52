/** The whole road of a message over real sockets, against two independent peers, in all three ways of serving. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { WebSocket as UndiciWebSocket } from 'undici';
import Ws, { WebSocketServer as WsServer } from 'ws';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';

const messages: (string | Buffer)[] = [
  'hi',
  '',
  'é'.repeat(62),
  'é'.repeat(63),
  'é'.repeat(125),
  'x'.repeat(125),
  'x'.repeat(126),
  'x'.repeat(65_535),
  'x'.repeat(65_536),
  '漢'.repeat(6000),
  Buffer.alloc(0),
  Buffer.from([0, 255, 128]),
  Buffer.alloc(16 * 1024, 1),
  Buffer.alloc(16 * 1024 + 1, 2),
  Buffer.alloc(1024 * 1024, 3),
];

interface Served {
  wss: WebSocketServer;
  url: string;
  close(): Promise<void>;
}

const ways: Record<string, (options: WebSocketServerOptions) => Promise<Served>> = {
  async 'a port of its own'(options) {
    const wss = new WebSocketServer({ ...options, port: 0, host: '127.0.0.1' });
    await once(wss, 'listening');
    const { port } = wss.address() as AddressInfo;
    return { wss, url: `ws://127.0.0.1:${port}/`, close: () => wss.close({}) };
  },
  async 'an http.Server'(options) {
    const http = createServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    const { port } = http.address() as AddressInfo;
    const wss = new WebSocketServer({ ...options, server: http });
    const close = async (): Promise<void> => {
      await wss.close({});
      http.close();
    };
    return { wss, url: `ws://127.0.0.1:${port}/`, close };
  },
  async handleUpgrade(options) {
    const http = createServer().listen(0, '127.0.0.1');
    await once(http, 'listening');
    const { port } = http.address() as AddressInfo;
    const wss = new WebSocketServer({ ...options, noServer: true });
    http.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws) => wss.emit('connection', ws, request));
    });
    const close = async (): Promise<void> => {
      await wss.close({});
      http.close();
    };
    return { wss, url: `ws://127.0.0.1:${port}/`, close };
  },
};

for (const [way, serve] of Object.entries(ways)) {
  for (const perMessageDeflate of [false, true]) {
    const kind = perMessageDeflate ? ', compressed' : '';
    test(`every message of ws and of ours comes back from ${way}${kind}`, async () => {
      const { wss, url, close } = await serve({ perMessageDeflate });
      wss.on('connection', (ws) => {
        ws.on('message', (data, isBinary) => {
          ws.send(data as Buffer, { binary: isBinary });
        });
      });
      for (const Client of [Ws as unknown as typeof WebSocket, WebSocket]) {
        const client = new Client(url);
        await once(client, 'open');
        assert.equal(client.extensions, perMessageDeflate ? 'permessage-deflate' : '');
        // One at a time, then all at once.
        for (const message of messages) {
          client.send(message);
          const [data, isBinary] = await once(client, 'message');
          assert.equal(isBinary, typeof message !== 'string');
          assert.ok(Buffer.from(message).equals(data), `${message.length} of ${message.slice(0, 2)}`);
        }
        const received: Buffer[] = [];
        client.on('message', (data) => received.push(data as Buffer));
        for (const message of messages) client.send(message);
        while (received.length < messages.length) await once(client, 'message');
        for (const [i, message] of messages.entries()) assert.ok(Buffer.from(message).equals(received[i]!));
        client.close(4001, 'bye');
        const [code, reason] = await once(client, 'close');
        assert.equal(code, 4001);
        assert.equal(String(reason), 'bye');
      }
      await close();
    });

    test(`every text of undici's client comes back from ${way}${kind}`, async () => {
      const { wss, url, close } = await serve({ perMessageDeflate });
      wss.on('connection', (ws) => {
        ws.on('message', (data) => {
          ws.send(String(data));
        });
      });
      const client = new UndiciWebSocket(url);
      await once(client, 'open');
      for (const message of messages) {
        if (typeof message !== 'string') continue;
        client.send(message);
        const [event] = await once(client, 'message');
        assert.equal((event as MessageEvent).data, message);
      }
      client.close(1000, 'bye');
      const [event] = await once(client, 'close');
      assert.equal((event as CloseEvent).code, 1000);
      assert.equal((event as CloseEvent).wasClean, true);
      await close();
    });
  }
}

for (const perMessageDeflate of [false, true]) {
  test(`every message of our client comes back from ws's server${perMessageDeflate ? ', compressed' : ''}`, async () => {
    const wss = new WsServer({ port: 0, host: '127.0.0.1', perMessageDeflate });
    await once(wss, 'listening');
    wss.on('connection', (ws) => {
      ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
    });
    const client = new WebSocket(`ws://127.0.0.1:${(wss.address() as AddressInfo).port}`);
    await once(client, 'open');
    for (const message of messages) {
      client.send(message);
      const [data, isBinary] = await once(client, 'message');
      assert.equal(isBinary, typeof message !== 'string');
      assert.ok(Buffer.from(message).equals(data));
    }
    client.close(1000, 'done');
    const [code, reason] = await once(client, 'close');
    assert.equal(code, 1000);
    assert.equal(String(reason), 'done');
    wss.close();
  });
}

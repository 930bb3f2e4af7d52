/** WebSocketServer as ws 8 documents it, the same tests for ws and for tidings/ws. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, IncomingMessage } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { frame, listenHttp, RawPeer, REQUEST } from '../server/support.ts';
import { until } from '../support/net.ts';
import { implementations, serve } from './implementations.ts';

for (const implementation of implementations) {
  const { name, WebSocket, WebSocketServer } = implementation;

  test(`${name}: one and only one of port, server and noServer`, async () => {
    const { http } = await listenHttp();
    for (const options of [
      {},
      { port: 0, server: http },
      { port: 0, noServer: true },
      { server: http, noServer: true },
    ]) {
      assert.throws(() => new WebSocketServer(options), TypeError);
    }
    http.close();
  });

  test(`${name}: callback and listening; address(); close(callback) and the close event`, async () => {
    const events: string[] = [];
    const wss = new WebSocketServer({ port: 0, host: '127.0.0.1' }, () => events.push('callback'));
    wss.on('listening', () => events.push('listening'));
    wss.on('close', () => events.push('close'));
    await once(wss, 'listening');
    assert.equal((wss.address() as AddressInfo).family, 'IPv4');
    wss.close(() => events.push('close callback'));
    assert.equal(wss.address(), null);
    await until('close', () => events.includes('close callback'));
    assert.deepEqual(new Set(events), new Set(['callback', 'listening', 'close', 'close callback']));
    const error = await new Promise<Error | undefined>((resolve) => wss.close(resolve));
    assert.equal(error?.message, 'The server is not running');
  });

  test(`${name}: address() throws with noServer, and is the server's with server`, async () => {
    assert.throws(() => new WebSocketServer({ noServer: true }).address(), /noServer/);
    const { http, port: number } = await listenHttp();
    const wss = new WebSocketServer({ server: http });
    assert.equal((wss.address() as AddressInfo).port, number);
    wss.close();
    http.close();
  });

  test(`${name}: server emits listening and error on, and both are taken away by close`, async () => {
    const http = createServer();
    const count = (): number[] => ['listening', 'error', 'upgrade'].map((event) => http.listenerCount(event));
    const before = count();
    const wss = new WebSocketServer({ server: http });
    const listening = once(wss, 'listening');
    http.listen(0, '127.0.0.1');
    await listening;
    const error = new Promise((resolve) => wss.on('error', resolve));
    http.emit('error', new Error('foo'));
    assert.equal(String(await error), 'Error: foo');
    wss.close();
    assert.deepEqual(count(), before);
    http.close();
  });

  test(`${name}: connection gives the socket and the request; clients holds who is connected`, async () => {
    const { wss, url } = await serve(implementation);
    const connection = once(wss, 'connection');
    const client = new WebSocket(`${url}/path?a=b`, { headers: { 'X-Test': 'yes' } });
    const [ws, request] = await connection;
    assert.ok(ws instanceof WebSocket);
    assert.ok(request instanceof IncomingMessage);
    assert.equal(request.url, '/path?a=b');
    assert.equal(request.headers['x-test'], 'yes');
    assert.equal(request.socket.remoteAddress, '127.0.0.1');
    assert.deepEqual([...wss.clients], [ws]);
    assert.equal(ws.readyState, WebSocket.OPEN);
    await once(client, 'open');
    client.close();
    await once(ws, 'close');
    assert.equal(wss.clients.size, 0);
    wss.close();
  });

  test(`${name}: clientTracking: false keeps none`, () => {
    const wss = new WebSocketServer({ noServer: true, clientTracking: false });
    assert.equal(wss.clients, undefined);
  });

  test(`${name}: close leaves clients alone`, async () => {
    const { http, url } = await listenHttp();
    const wss = new WebSocketServer({ server: http });
    const client = new WebSocket(url);
    await once(client, 'open');
    let isClosed = false;
    wss.on('close', () => {
      isClosed = true;
    });
    wss.close();
    const [ws] = wss.clients;
    ws!.send('still');
    assert.equal(String((await once(client, 'message'))[0]), 'still');
    assert.equal(isClosed, false);
    client.close();
    await until('close', () => isClosed);
    http.close();
  });

  test(`${name}: path and shouldHandle decide, without the query`, async () => {
    const wss = new WebSocketServer({ noServer: true, path: '/foo' });
    for (const [url, expected] of [
      ['/foo', true],
      ['/foo?bar=1', true],
      ['/bar', false],
      ['/foo/', false],
    ] as const) {
      assert.equal(wss.shouldHandle({ url } as IncomingMessage), expected, url);
    }
    const { http, url } = await listenHttp();
    const served = new WebSocketServer({ server: http, path: '/foo' });
    const client = new WebSocket(`${url}/foo`);
    await once(client, 'open');
    client.terminate();
    const refused = new WebSocket(`${url}/bar`);
    const [, response] = await once(refused, 'unexpected-response');
    assert.equal(response.statusCode, 400);
    refused.terminate();
    refused.on('error', () => {});
    served.close();
    http.close();
  });

  test(`${name}: handleUpgrade over a socket or any Duplex, and refuses to be called twice`, async () => {
    const { http, url } = await listenHttp();
    const wss = new WebSocketServer({ noServer: true });
    let second: unknown;
    http.on('upgrade', (request, socket, head) => {
      wss.handleUpgrade(request, socket, head, (ws, sameRequest) => {
        assert.equal(sameRequest, request);
        ws.send('hi');
      });
      try {
        wss.handleUpgrade(request, socket, head, () => assert.fail());
      } catch (error) {
        second = error;
      }
    });
    const client = new WebSocket(url);
    assert.equal(String((await once(client, 'message'))[0]), 'hi');
    assert.match(String(second), /called more than once/);
    client.terminate();
    http.close();

    const output: Buffer[] = [];
    const duplex = new Duplex({
      read() {},
      write(chunk, _encoding, callback) {
        output.push(chunk);
        callback();
      },
    });
    const request = {
      method: 'GET',
      httpVersion: '1.1',
      url: '/',
      socket: duplex,
      headers: {
        connection: 'upgrade',
        upgrade: 'websocket',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'sec-websocket-version': '13',
      },
    } as unknown as IncomingMessage;
    const messages: string[] = [];
    wss.handleUpgrade(request, duplex, frame(1, 'head'), (ws) => {
      ws.on('message', (data) => messages.push(String(data)));
      ws.send('to a duplex');
    });
    duplex.push(frame(1, 'pushed'));
    await until('both messages', () => messages.length === 2);
    assert.deepEqual(messages, ['head', 'pushed']);
    assert.match(
      String(Buffer.concat(output)),
      /^HTTP\/1\.1 101 [\s\S]*s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=[\s\S]*to a duplex$/,
    );
    duplex.destroy();
  });

  test(`${name}: verifyClient, synchronous: false is 401; info has origin, secure and req`, async () => {
    let info: { origin: string; secure: boolean; req: IncomingMessage } | undefined;
    const { wss, url } = await serve(implementation, {
      verifyClient: (given: typeof info & object) => {
        info = given;
        return false;
      },
    });
    const client = new WebSocket(url, { origin: 'https://example.com' });
    const error = await new Promise((resolve) => client.on('error', resolve));
    assert.equal(String(error), 'Error: Unexpected server response: 401');
    assert.equal(info?.origin, 'https://example.com');
    assert.equal(info?.secure, false);
    assert.ok(info?.req instanceof IncomingMessage);
    wss.close();
  });

  test(`${name}: verifyClient, asynchronous: status, text and headers`, async () => {
    const { wss, url } = await serve(implementation, {
      verifyClient: (_info, done) => process.nextTick(done, false, 429, 'Too fast', { 'Retry-After': 120 }),
    });
    const client = new WebSocket(url);
    const [request, response] = await once(client, 'unexpected-response');
    assert.equal(response.statusCode, 429);
    assert.equal(response.headers['retry-after'], '120');
    let body = '';
    for await (const chunk of response) body += chunk;
    assert.equal(body, 'Too fast');
    request.destroy();
    wss.close();
  });

  test(`${name}: verifyClient, asynchronous: without a status it is 401, however that is said`, async () => {
    const statuses: unknown[] = [undefined, null, 0, ''];
    const { wss, url } = await serve(implementation, {
      verifyClient: (info, done) => done(false, statuses[Number(info.req.url!.slice(1))] as number),
    });
    for (let i = 0; i < statuses.length; i++) {
      const [request, response] = await once(new WebSocket(`${url}/${i}`), 'unexpected-response');
      assert.equal(response.statusCode, 401, String(statuses[i]));
      request.destroy();
    }
    wss.close();
  });

  test(`${name}: handleProtocols chooses; without it the first is taken`, async () => {
    for (const [handleProtocols, expected] of [
      [undefined, 'foo'],
      [(protocols: Set<string>) => [...protocols].at(-1)!, 'bar'],
    ] as const) {
      const { wss, url } = await serve(implementation, { ...(handleProtocols && { handleProtocols }) });
      const connection = once(wss, 'connection');
      const client = new WebSocket(url, ['foo', 'bar']);
      await once(client, 'open');
      const [ws] = await connection;
      assert.equal(client.protocol, expected);
      assert.equal(ws.protocol, expected);
      client.terminate();
      wss.close();
    }
    const { wss, url } = await serve(implementation, { handleProtocols: () => false });
    const client = new WebSocket(url, ['foo']);
    const error = await new Promise((resolve) => client.on('error', resolve));
    assert.equal(String((error as Error).message), 'Server sent no subprotocol');
    wss.close();
  });

  test(`${name}: headers may be added to before they are sent`, async () => {
    const { wss, url } = await serve(implementation);
    wss.on('headers', (headers, request) => {
      assert.equal(headers[0], 'HTTP/1.1 101 Switching Protocols');
      assert.ok(request instanceof IncomingMessage);
      headers.push('Set-Cookie: a=1');
    });
    const client = new WebSocket(url);
    const opened = once(client, 'open');
    const [response] = await once(client, 'upgrade');
    assert.deepEqual(response.headers['set-cookie'], ['a=1']);
    await opened;
    client.terminate();
    wss.close();
  });

  test(`${name}: wsClientError takes over malformed handshakes`, async () => {
    const { wss, port } = await serve(implementation);
    wss.on('wsClientError', (error, socket, request) => {
      assert.ok(error instanceof Error);
      assert.equal(request.url, '/');
      socket.end(`HTTP/1.1 418 ${error.message}\r\n\r\n`);
    });
    const peer = await RawPeer.connect(port);
    peer.socket.write(`${REQUEST.replace(/Sec-WebSocket-Key.*\r\n/, '')}\r\n`);
    assert.match(await peer.rest(), /^HTTP\/1\.1 418 Missing or invalid Sec-WebSocket-Key header/);
    wss.close();
  });

  test(`${name}: the option WebSocket is the class of the connections`, async () => {
    class Mine extends WebSocket {
      greet(): void {
        this.send('hello from a subclass');
      }
    }
    const { wss, url } = await serve(implementation, { WebSocket: Mine });
    wss.on('connection', (ws) => (ws as Mine).greet());
    const client = new WebSocket(url);
    assert.equal(String((await once(client, 'message'))[0]), 'hello from a subclass');
    client.terminate();
    wss.close();
  });

  test(`${name}: maxPayload, closing with 1009 and the error's code`, async () => {
    const { wss, url } = await serve(implementation, { maxPayload: 10 });
    const codes: unknown[] = [];
    wss.on('connection', (ws) => ws.on('error', (error: NodeJS.ErrnoException) => codes.push(error.code)));
    const client = new WebSocket(url);
    await once(client, 'open');
    client.send('x'.repeat(11));
    const [code] = await once(client, 'close');
    assert.equal(code, 1009);
    assert.deepEqual(codes, ['WS_ERR_UNSUPPORTED_MESSAGE_LENGTH']);
    wss.close();
  });

  for (const [what, bytes, errorCode, closeCode] of [
    ['no mask', frame(1, 'x', { masked: false }), 'WS_ERR_EXPECTED_MASK', 1002],
    ['RSV1', frame(1, 'x', { rsv: 4 }), 'WS_ERR_UNEXPECTED_RSV_1', 1002],
    ['RSV2', frame(1, 'x', { rsv: 2 }), 'WS_ERR_UNEXPECTED_RSV_2_3', 1002],
    ['a reserved opcode', frame(5), 'WS_ERR_INVALID_OPCODE', 1002],
    ['a continuation of nothing', frame(0), 'WS_ERR_INVALID_OPCODE', 1002],
    ['a fragmented ping', frame(9, '', { fin: false }), 'WS_ERR_EXPECTED_FIN', 1002],
    ['a long ping', frame(9, 'x'.repeat(126)), 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH', 1002],
    ['bad UTF-8', frame(1, Buffer.from([0xff])), 'WS_ERR_INVALID_UTF8', 1007],
    ['close code 999', frame(8, Buffer.from([3, 231])), 'WS_ERR_INVALID_CLOSE_CODE', 1002],
    [
      'a length past 2^53',
      Buffer.from('82ff0040000000000000', 'hex'),
      'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
      1009,
    ],
  ] as const) {
    test(`${name}: ${what}: ${errorCode}, close code ${closeCode}, and 1006 for the application`, async () => {
      const { wss, port } = await serve(implementation);
      const ended = new Promise<unknown[]>((resolve) => {
        wss.on('connection', (ws) => {
          let code: unknown;
          ws.on('error', (error: NodeJS.ErrnoException) => {
            code = error.code;
          });
          ws.on('close', (closed) => resolve([code, closed]));
        });
      });
      const peer = await RawPeer.open(port);
      peer.socket.write(bytes);
      assert.equal(await peer.closeCode(), closeCode);
      assert.deepEqual(await ended, [errorCode, 1006]);
      wss.close();
    });
  }

  test(`${name}: a client that sends FIN during a slow verifyClient is not connected, or closed at once`, async () => {
    let decide: (() => void) | undefined;
    const { wss, port } = await serve(implementation, {
      verifyClient: (_info, done) => {
        decide = () => done(true);
      },
    });
    let closed = 0;
    wss.on('connection', (ws) => ws.on('close', () => closed++));
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(`${REQUEST}\r\n`);
    const gone = new Promise((resolve) => socket.on('close', resolve));
    socket.resume();
    (await until('it is asked', () => decide))();
    await gone;
    await until('nobody is left', () => wss.clients.size === 0);
    assert.ok(closed <= 1);
    wss.close();
  });
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import Ws, { WebSocketServer as WsServer } from 'ws';
import { WebSocket, WebSocketServer, type WebSocketServerOptions } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { closeFrame, frame, listen, RawPeer, REQUEST } from './support.ts';

interface End {
  code: number;
  reason: string;
  errors: Error[];
}

/** A raw peer, and how the server's side of it ends. */
async function pair(
  options: WebSocketServerOptions = {},
): Promise<{ peer: RawPeer; ws: WebSocket; ended: Promise<End>; close(): Promise<void> }> {
  const { wss, port } = await listen(options);
  const errors: Error[] = [];
  let server: WebSocket | undefined;
  const ended = new Promise<End>((resolve) => {
    wss.on('connection', (ws) => {
      server = ws;
      ws.on('error', (error) => errors.push(error));
      ws.on('message', (data, isBinary) => {
        ws.send(data as Buffer, { binary: isBinary });
      });
      ws.on('close', (code, reason) => resolve({ code, reason: String(reason), errors }));
    });
  });
  const peer = await RawPeer.open(port);
  const ws = await until('the connection', () => server);
  return { peer, ws, ended, close: () => wss.close({}) };
}

// ── §7: the closing handshake ────────────────────────────────────────────────────────────────────

test('§7.1: the client closes first: its code comes back, the server ends the TCP connection', async () => {
  const { peer, ended, close } = await pair();
  peer.socket.write(closeFrame(4001, 'bye'));
  const answer = await peer.frame();
  assert.equal(answer.opcode, 8);
  assert.deepEqual(answer.payload, Buffer.from('\x0f\xa1bye', 'latin1'));
  await peer.closed();
  const { code, reason } = await ended;
  assert.deepEqual([code, reason], [4001, 'bye']);
  await close();
});

test('§7.1.5: a close frame without a code is answered with one without a code, and is 1005', async () => {
  const { peer, ended, close } = await pair();
  peer.socket.write(frame(8));
  assert.equal((await peer.frame()).payload.length, 0);
  assert.equal((await ended).code, 1005);
  await close();
});

test('§7.1: the server closes first, and reads on until the client has answered', async () => {
  const { peer, ws, ended, close } = await pair();
  const messages: string[] = [];
  ws.on('message', (data) => messages.push(String(data)));
  ws.close(1001, 'going');
  assert.equal(ws.readyState, WebSocket.CLOSING);
  assert.equal(await peer.closeCode(), 1001);
  peer.socket.write(Buffer.concat([frame(1, 'one more'), closeFrame(1001)]));
  await peer.closed();
  assert.equal((await ended).code, 1001);
  assert.deepEqual(messages, ['one more']);
  await close();
});

test('both close at the same moment', async () => {
  const { peer, ws, ended, close } = await pair();
  ws.close(1000);
  peer.socket.write(closeFrame(3000));
  assert.equal(await peer.closeCode(), 1000);
  assert.equal((await ended).code, 3000);
  await close();
});

test('a peer that never answers the close frame is cut off after closeTimeout, with 1006', async () => {
  const { peer, ws, ended, close } = await pair({ closeTimeout: 100 });
  ws.close();
  assert.equal(await peer.closeCode(), 1005);
  assert.equal((await ended).code, 1006);
  await peer.closed();
  await close();
});

test('a peer that answers the close frame but never closes the TCP connection is cut off', async () => {
  const { wss, port } = await listen({ closeTimeout: 100 });
  const closed = new Promise<number>((resolve) => {
    wss.on('connection', (ws) => {
      ws.on('close', resolve);
      ws.close();
    });
  });
  const peer = await RawPeer.connect(port, true);
  // In one packet, so that the answer is there before the time for it begins.
  peer.socket.write(Buffer.concat([Buffer.from(`${REQUEST}\r\n`), frame(8)]));
  assert.equal(await closed, 1005);
  peer.socket.destroy();
  await wss.close({});
});

test('a peer that ends the TCP connection without a close frame is 1006, no error', async () => {
  const { peer, ended, close } = await pair();
  peer.socket.end();
  assert.deepEqual(await ended, { code: 1006, reason: '', errors: [] });
  await close();
});

test('a reset is 1006, no error', async () => {
  const { peer, ended, close } = await pair();
  peer.socket.resetAndDestroy();
  assert.deepEqual(await ended, { code: 1006, reason: '', errors: [] });
  await close();
});

test('nothing is read behind a close frame', async () => {
  const { peer, ws, ended, close } = await pair();
  ws.on('message', () => assert.fail('must not be read'));
  peer.socket.write(Buffer.concat([closeFrame(1000), frame(1, 'late'), Buffer.alloc(1000, 0xff)]));
  assert.equal(await peer.closeCode(), 1000);
  assert.deepEqual((await ended).errors, []);
  await close();
});

test('a message sent right before close() is still read by the peer', async () => {
  const { peer, ws, close } = await pair();
  ws.send('x'.repeat(100_000));
  ws.send('last');
  ws.close(1000);
  assert.equal((await peer.frame()).payload.length, 100_000);
  assert.equal(String((await peer.frame()).payload), 'last');
  assert.equal(await peer.closeCode(), 1000);
  peer.socket.write(closeFrame(1000));
  await close();
});

// ── garbage ──────────────────────────────────────────────────────────────────────────────────────

for (const [what, bytes, code, name] of [
  ['an unmasked frame (§5.1)', frame(1, 'hi', { masked: false }), 1002, 'WS_ERR_EXPECTED_MASK'],
  ['a reserved opcode (§5.2)', frame(3), 1002, 'WS_ERR_INVALID_OPCODE'],
  ['a reserved bit (§5.2)', frame(1, '', { rsv: 4 }), 1002, 'WS_ERR_UNEXPECTED_RSV_1'],
  ['invalid UTF-8 (§8.1)', frame(1, Buffer.from([0xc0, 0x80])), 1007, 'WS_ERR_INVALID_UTF8'],
  ['a fragmented ping (§5.5)', frame(9, '', { fin: false }), 1002, 'WS_ERR_EXPECTED_FIN'],
  ['a close code of 1005 (§7.4.1)', closeFrame(1005), 1002, 'WS_ERR_INVALID_CLOSE_CODE'],
  ['a message over maxPayload', frame(2, Buffer.alloc(2000)), 1009, 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'],
  ['random bytes', Buffer.from('d9d9d9d9d9d9d9d9', 'hex'), 1002, 'WS_ERR_UNEXPECTED_RSV_2_3'],
] as const) {
  test(`${what} is answered with ${code}, the connection ends, the error is told`, async () => {
    const { peer, ended, close } = await pair({ maxPayload: 1000 });
    peer.socket.write(Buffer.concat([frame(1, 'before'), bytes, frame(1, 'behind')]));
    assert.equal(String((await peer.frame()).payload), 'before');
    assert.equal(await peer.closeCode(), code);
    await peer.closed();
    const end = await ended;
    assert.equal(end.code, 1006);
    assert.equal(end.errors.length, 1);
    assert.equal((end.errors[0] as NodeJS.ErrnoException).code, name);
    assert.equal(peer.received.length, 0, 'nothing behind the close frame');
    await close();
  });
}

test('a peer’s garbage does not end a process without an error listener, on either side', async () => {
  const { wss, port } = await listen();
  const closed = new Promise<number>((resolve) => {
    wss.on('connection', (ws) => ws.on('close', resolve));
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.alloc(100, 0xff));
  assert.equal(await peer.closeCode(), 1002);
  assert.equal(await closed, 1006);
  await wss.close({});

  const theirs = new WsServer({ port: 0, host: '127.0.0.1' });
  await once(theirs, 'listening');
  theirs.on('connection', (ws, request) => {
    request.socket.write(Buffer.alloc(100, 0xff));
    ws.on('error', () => {});
  });
  const client = new WebSocket(`ws://127.0.0.1:${(theirs.address() as AddressInfo).port}`);
  // Not `once` of node:events, which listens for errors.
  assert.equal(await new Promise((resolve) => client.on('close', resolve)), 1006);
  theirs.close();
});

test('a peer that floods after its error is read and thrown away until it ends', async () => {
  const { peer, ended, close } = await pair();
  peer.socket.write(frame(3));
  for (let i = 0; i < 200; i++) peer.socket.write(Buffer.alloc(65536));
  assert.equal(await peer.closeCode(), 1002);
  assert.equal((await ended).code, 1006);
  await close();
});

// ── §5.5.2: pings ────────────────────────────────────────────────────────────────────────────────

test('§5.5.2: a ping is answered with its data, between the answers around it', async () => {
  const { peer, close } = await pair();
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(9, 'data'), frame(1, 'b')]));
  assert.equal(String((await peer.frame()).payload), 'a');
  const pong = await peer.frame();
  assert.deepEqual([pong.opcode, String(pong.payload)], [10, 'data']);
  assert.equal(String((await peer.frame()).payload), 'b');
  peer.socket.destroy();
  await close();
});

test('autoPong: false leaves pings to the application', async () => {
  const { wss, port } = await listen({ autoPong: false });
  wss.on('connection', (ws) => ws.on('ping', (data) => ws.pong(`own ${data}`)));
  const peer = await RawPeer.open(port);
  peer.socket.write(frame(9, 'x'));
  assert.equal(String((await peer.frame()).payload), 'own x');
  peer.socket.destroy();
  await wss.close({});
});

test('§5.5.3: a flood of pings to a peer that does not read leaves one pong pending', async () => {
  const { wss, port } = await listen();
  let server: WebSocket | undefined;
  let pings = 0;
  wss.on('connection', (ws) => {
    server = ws;
    ws.on('ping', () => pings++);
  });
  const peer = await RawPeer.open(port);
  const ws = await until('the connection', () => server);
  peer.socket.pause();
  // More than the kernel takes, so that the server stays behind.
  assert.equal(ws.send(Buffer.alloc(20_000_000)), 'queued');
  const before = ws.bufferedAmount;
  for (let i = 0; i < 10_000; i++) peer.socket.write(frame(9, `ping ${i}`));
  await until('all pings', () => pings === 10_000);
  assert.equal(ws.bufferedAmount, before, 'pongs don’t pile up');
  peer.socket.resume();
  // What comes first is the bytes; the one pong behind them answers the last ping.
  await until('the pong', () => peer.received.subarray(-9).toString() === 'ping 9999');
  peer.socket.destroy();
  await wss.close({});
});

test('§5.5.3: on a stream that takes its time each ping has its pong, until as much waits as a stream holds', async () => {
  const ends: (() => void)[] = [];
  const written: Buffer[] = [];
  const socket = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk);
      ends.push(done);
    },
  });
  const endWrites = async (): Promise<void> => {
    for (let end = ends.shift(); end !== undefined; end = ends.shift()) {
      end();
      await new Promise(setImmediate);
    }
  };
  const request = {
    method: 'GET',
    url: '/',
    headers: {
      host: 'a',
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    },
    rawHeaders: [],
    socket,
  } as unknown as IncomingMessage;
  const wss = new WebSocketServer({ noServer: true });
  let ws: WebSocket | undefined;
  let pings = 0;
  wss.handleUpgrade(request, socket, Buffer.alloc(0), (accepted) => {
    ws = accepted.on('ping', () => pings++);
  });
  await until('the answer', () => ends.length === 1);
  await endWrites();
  written.length = 0;
  const ping = async (from: number, to: number): Promise<void> => {
    for (let i = from; i < to; i++) {
      socket.push(frame(9, `ping ${i}`));
      await until('it is read', () => pings === i + 1);
    }
  };
  await ping(0, 10);
  assert.equal(ends.length, 1, 'none is through yet');
  await endWrites();
  const pongs = (): string[] => Buffer.concat(written).toString('latin1').split('\x8a').slice(1);
  const pong = (i: number): string => `${String.fromCharCode(`ping ${i}`.length)}ping ${i}`;
  assert.deepEqual(
    pongs(),
    Array.from({ length: 10 }, (_, i) => pong(i)),
  );
  // Now there is more than the stream holds.
  ws!.send(Buffer.alloc(300_000));
  written.length = 0;
  await ping(10, 200);
  await endWrites();
  assert.deepEqual(pongs(), [pong(199)]);
  ws!.terminate();
});

// ── pausing ──────────────────────────────────────────────────────────────────────────────────────

test('pause() from within a message stops behind it; resume() goes on, in order', async () => {
  const { wss, port } = await listen();
  const seen: string[] = [];
  let server: WebSocket | undefined;
  wss.on('connection', (ws) => {
    server = ws;
    ws.on('message', (data) => {
      seen.push(String(data));
      ws.pause();
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat(['1', '2', '3'].map((text) => frame(1, text))));
  await until('the first', () => seen.length === 1);
  peer.socket.write(frame(1, '4'));
  for (let i = 2; i <= 4; i++) {
    assert.equal(server?.isPaused, true);
    assert.equal(seen.length, i - 1);
    server?.resume();
    await until(`message ${i}`, () => seen.length === i);
  }
  assert.deepEqual(seen, ['1', '2', '3', '4']);
  peer.socket.destroy();
  server?.resume();
  await wss.close({});
});

test('what had come before a paused connection was reset is delivered before close', async () => {
  const { wss, port } = await listen();
  const seen: string[] = [];
  const ended = new Promise<void>((resolve) => {
    wss.on('connection', (ws) => {
      ws.on('message', (data) => {
        seen.push(String(data));
        ws.pause();
      });
      ws.on('close', () => resolve());
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat(['1', '2', '3'].map((text) => frame(1, text))));
  await until('the first', () => seen.length === 1);
  for (const ws of wss.clients) ws.terminate();
  await ended;
  assert.deepEqual(seen, ['1', '2', '3']);
  await wss.close({});
});

test('a paused connection slows its peer down', async () => {
  const { wss, port } = await listen();
  let server: WebSocket | undefined;
  wss.on('connection', (ws) => {
    server = ws;
    ws.pause();
  });
  const peer = await RawPeer.open(port);
  await until('the connection', () => server);
  for (let i = 0; i < 1024; i++) peer.socket.write(frame(2, Buffer.alloc(65536)));
  assert.ok(peer.socket.writableLength > 32 * 1024 * 1024);
  let received = 0;
  server?.on('message', () => received++);
  server?.resume();
  await until('all messages', () => received === 1024);
  peer.socket.destroy();
  await wss.close({});
});

test('allowSynchronousEvents: false gives one message a turn', async () => {
  const { wss, port } = await listen({ allowSynchronousEvents: false });
  const turns: number[] = [];
  let turn = 0;
  const count = (): void => {
    turn++;
    if (turns.length < 3) setImmediate(count);
  };
  wss.on('connection', (ws) => {
    ws.on('message', () => {
      if (turns.length === 0) count();
      turns.push(turn);
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(1, 'b'), frame(1, 'c')]));
  await until('three messages', () => turns.length === 3);
  assert.equal(new Set(turns).size, 3, `turns ${turns}`);
  peer.socket.destroy();
  await wss.close({});
});

// ── parts ────────────────────────────────────────────────────────────────────────────────────────

test('§5.4: send with fin: false makes one message of its parts', async () => {
  const { wss, url } = await listen({ perMessageDeflate: true });
  wss.on('connection', (ws) => {
    ws.send('one ', { fin: false });
    ws.send('two ', { fin: false });
    ws.ping();
    ws.send('three', { fin: true });
    ws.send('whole');
  });
  const client = new Ws(url);
  const seen: string[] = [];
  client.on('message', (data, isBinary) => seen.push(`${data} ${isBinary}`));
  await until('both messages', () => seen.length === 2);
  assert.deepEqual(seen, ['one two three false', 'whole false']);
  client.terminate();
  await wss.close({});
});

test('partial: a huge message comes in pieces, text cut between characters, and is never held whole', async () => {
  const { wss, port } = await listen({ partial: true, maxPayload: 0 });
  let text = '';
  let pieces = 0;
  let longest = 0;
  let isDone = false;
  wss.on('connection', (ws) => {
    ws.on('fragment', (data, isBinary, isLast) => {
      assert.equal(isBinary, false);
      text += data.toString();
      pieces++;
      longest = Math.max(longest, data.length);
      isDone = isLast;
    });
    ws.on('message', () => assert.fail('must come as fragments'));
  });
  const peer = await RawPeer.open(port);
  const whole = '漢字'.repeat(100_000);
  peer.socket.write(frame(1, whole));
  await until('the last piece', () => isDone);
  assert.equal(text, whole);
  assert.ok(pieces > 1 && longest < 600_000, `${pieces} pieces, the longest of ${longest} bytes`);
  peer.socket.destroy();
  await wss.close({});
});

test('partial: a handler gets the pieces, with the last one told, also of a compressed message', async () => {
  const pieces: string[] = [];
  let isDone = 0;
  const { wss, url } = await listen({
    partial: true,
    perMessageDeflate: true,
    handler: {
      fragment(_ws, data, isBinary, isLast) {
        pieces.push(String(data));
        assert.equal(isBinary, false);
        if (isLast) isDone++;
      },
    },
  });
  for (const perMessageDeflate of [true, false]) {
    pieces.length = 0;
    const client = new Ws(url, { perMessageDeflate });
    await once(client, 'open');
    const text = 'piece by piece '.repeat(20_000);
    const before = isDone;
    client.send(text);
    await until('the last piece', () => isDone > before);
    assert.equal(pieces.join(''), text);
    client.terminate();
  }
  await wss.close({});
});

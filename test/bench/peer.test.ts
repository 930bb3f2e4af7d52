/** Peers as other load generators start them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { WebSocket } from 'ws';
import { buildBench } from '../../bench/build.ts';
import { listeningPort } from '../../bench/processes.ts';
import { command, type Mode, peerNamed, type ServerOptions } from '../../bench/roster.ts';
import { storedMessage, storedRequest } from '../../bench/stored.ts';
import { typescript } from '../support/programs.ts';

async function start(
  t: TestContext,
  name: string,
  mode: Mode,
  options: Partial<ServerOptions> & { endsWith?: number } = {},
): Promise<number> {
  await buildBench({ installsPeers: false });
  const { endsWith = 0 } = options;
  const { file, args, env } = command(peerNamed(name), { mode, ...options });
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', endsWith === 0 ? 'inherit' : 'ignore'], env });
  t.after(async () => {
    child.kill('SIGTERM');
    const [status] = await once(child, 'exit');
    assert.equal(status, endsWith, `${name} ends on SIGTERM with status ${endsWith}`);
  });
  return listeningPort(child, name);
}

async function client(t: TestContext, port: number, deflate = false): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { perMessageDeflate: deflate });
  await once(socket, 'open');
  t.after(() => socket.terminate());
  return socket;
}

for (const name of ['tidings', 'tidings-embedded', 'ws']) {
  for (const deflate of [false, true]) {
    const title = `${name} --mode echo${deflate ? ' --deflate' : ''}`;
    test(`${title} answers text with text and binary with binary`, async (t) => {
      const socket = await client(t, await start(t, name, 'echo', { deflate }), deflate);
      assert.equal(socket.extensions, deflate ? 'permessage-deflate' : '');
      for (const size of [1, 125, 5000, 200_000]) {
        for (const data of ['x'.repeat(size), Buffer.alloc(size, 7)]) {
          const answer = once(socket, 'message');
          socket.send(data);
          const [received, isBinary] = (await answer) as [Buffer, boolean];
          assert.equal(isBinary, typeof data !== 'string');
          assert.deepEqual(received, Buffer.from(data));
        }
      }
    });
  }

  test(`${name} --mode broadcast sends to all what anyone sends`, async (t) => {
    const port = await start(t, name, 'broadcast');
    const all = await Promise.all([client(t, port), client(t, port), client(t, port)]);
    const answers = all.map((socket) => once(socket, 'message'));
    all[1]!.send('to all');
    for (const [data, isBinary] of (await Promise.all(answers)) as [Buffer, boolean][]) {
      assert.equal(data.toString(), 'to all');
      assert.equal(isBinary, false);
    }
  });
}

for (const name of ['tidings', 'ws', 'faye']) {
  test(`${name} --max-payload closes with 1009 on a longer message, and takes one that is not`, async (t) => {
    const socket = await client(t, await start(t, name, 'echo', { limits: { 'max-payload': 1000 } }));
    const answer = once(socket, 'message');
    socket.send(Buffer.alloc(1000));
    await answer;
    const closed = once(socket, 'close');
    socket.send(Buffer.alloc(1001));
    assert.equal((await closed)[0], 1009);
  });
}

for (const name of ['tidings', 'ws']) {
  test(`${name} --max-fragments closes on a message of more fragments`, async (t) => {
    const socket = await client(t, await start(t, name, 'echo', { limits: { 'max-fragments': 3 } }));
    const answer = once(socket, 'message');
    for (const fin of [false, false, true]) socket.send('x', { fin });
    await answer;
    const closed = once(socket, 'close');
    for (const fin of [false, false, false, true]) socket.send('x', { fin });
    assert.equal((await closed)[0], 1008);
  });
}

test('faye --deflate agrees on permessage-deflate', async (t) => {
  const socket = await client(t, await start(t, 'faye', 'echo', { deflate: true }), true);
  assert.equal(socket.extensions, 'permessage-deflate');
});

test('npm run peer refuses a limit that the peer has not, and one that is no number', async () => {
  for (const [args, message] of [
    [['faye', '--max-fragments', '3'], /faye has no --max-fragments/],
    [['ws', '--max-payload', '1k'], /--max-payload must be a number, not 1k/],
  ] as [string[], RegExp][]) {
    const child = spawn(process.execPath, [...typescript, 'bench/peer.ts', ...args], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    let errors = '';
    child.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    const [status] = await once(child, 'close');
    assert.equal(status, 1);
    assert.match(errors, message);
  }
});

for (const name of ['tidings-events', 'ws']) {
  for (const answers of ['later', 'callback'] as const) {
    test(`${name} --answers ${answers} gives back all that came in at once, in order`, async (t) => {
      const socket = await client(t, await start(t, name, 'echo', { answers }));
      const answered: string[] = [];
      const all = new Promise<void>((resolve) => {
        socket.on('message', (data) => {
          answered.push(String(data));
          if (answered.length === 16) resolve();
        });
      });
      const sent = Array.from({ length: 16 }, (_, i) => `message ${i}`);
      for (const text of sent) socket.send(text);
      await all;
      assert.deepEqual(answered, sent);
    });
  }

  test(`${name} --answers stored sends the message that is asked for`, async (t) => {
    const port = await start(t, name, 'echo', { answers: 'stored', answerSize: 65536 });
    const socket = await client(t, port);
    for (const index of [0, 5, 63]) {
      const answer = once(socket, 'message');
      socket.send(storedRequest(index));
      const [received] = (await answer) as [Buffer];
      assert.ok(received.equals(storedMessage(index, 65536)));
    }
  });
}

for (const name of ['tidings', 'tidings-events', 'ws']) {
  test(`${name} --strict ends with status 1 where a connection had an error`, async (t) => {
    const port = await start(t, name, 'echo', { isStrict: true, endsWith: 1 });
    const socket = connect(port, '127.0.0.1');
    t.after(() => socket.destroy());
    socket.write(
      'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await once(socket, 'data');
    // A frame that isn't masked (§5.1).
    socket.write(Buffer.from([0x82, 0x01, 0x00]));
    socket.resume();
    await once(socket, 'end');
  });
}

test('net --mode echo gives bytes back as they came', async (t) => {
  const socket = connect(await start(t, 'net', 'echo'), '127.0.0.1');
  t.after(() => socket.destroy());
  socket.write('no protocol');
  const [data] = (await once(socket, 'data')) as [Buffer];
  assert.equal(data.toString(), 'no protocol');
});

test('npm run peer prints where it listens and ends on SIGTERM with status 0', {
  timeout: 600_000,
}, async () => {
  const child = spawn(
    process.execPath,
    [...typescript, 'bench/peer.ts', 'tidings', '--port', '0', '--mode', 'idle'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const port = await listeningPort(child, 'npm run peer');
  const socket = connect(port, '127.0.0.1');
  await once(socket, 'connect');
  socket.destroy();
  child.kill('SIGTERM');
  const [status] = await once(child, 'exit');
  assert.equal(status, 0);
});

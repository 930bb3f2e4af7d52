/** What the application throws surfaces as its own, and leaves connections, and other applications, alone. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { typescript } from '../support/programs.ts';

/** Runs a program in a process that goes on after uncaught exceptions, and returns what it prints. */
async function run(program: string): Promise<string[]> {
  const source = `
    import { once } from 'node:events';
    import Ws from 'ws';
    import { WebSocketServer } from './src/ws.ts';
    let printed = 0;
    const print = (...words) => { printed++; console.log(...words); };
    process.on('uncaughtException', (error) => print('uncaught', error.message));
    process.on('warning', (warning) => print('warning', warning.message));
    const serve = async (options = {}) => {
      const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
      await once(wss, 'listening');
      return { wss, url: 'ws://127.0.0.1:' + wss.address().port };
    };
    const lines = async (count) => {
      while (printed < count) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    setTimeout(() => process.exit(1), 60_000);
    ${program}
    // What comes too much comes in these turns.
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    process.exit(0);
  `;
  const child = spawn(process.execPath, [...typescript, '--input-type=module', '--eval', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += chunk;
  });
  await once(child, 'close');
  return output.trim().split('\n');
}

test('a message listener that throws: uncaught, and the next message is read', async () => {
  const lines = await run(`
    const { wss, url } = await serve();
    wss.on('connection', (ws) => ws.on('message', (data) => {
      if (String(data) === 'bad') throw new Error('mine');
      ws.send('got ' + data);
    }));
    const client = new Ws(url);
    await once(client, 'open');
    client.send('bad');
    client.send('good');
    print(String((await once(client, 'message'))[0]));
  `);
  assert.deepEqual(lines, ['uncaught mine', 'got good']);
});

test('a generateMask that throws: uncaught, and every frame leaves with a random key, whoever it is for', async () => {
  const lines = await run(`
    const { WebSocket } = await import('./src/ws.ts');
    const { wss, url } = await serve();
    const got = [];
    let generateMask = () => { throw new Error('mine'); };
    const client = new WebSocket(url, { perMessageDeflate: false, generateMask: (key) => generateMask(key) });
    const [[ws]] = await Promise.all([once(wss, 'connection'), once(client, 'open')]);
    ws.on('message', (data) => got.push(data.length));
    client.send('text');
    client.send(Buffer.alloc(100_000));
    ws.ping('p');
    await once(ws, 'pong');
    generateMask = (key) => key.fill(1);
    client.send('fine');
    generateMask = () => { throw new Error('last'); };
    client.close(3000);
    print(String(await once(ws, 'close')), String(got));
  `);
  assert.deepEqual(lines, [
    'uncaught mine',
    'uncaught mine',
    'uncaught mine',
    'uncaught last',
    '3000, 4,100000,4',
  ]);
});

test('an error listener that throws: uncaught, and other connections still get their answers', async () => {
  const lines = await run(`
    const { wss, url } = await serve();
    wss.on('connection', (ws) => {
      ws.on('error', () => { throw new Error('mine'); });
      ws.on('close', (code) => print('closed', code));
      ws.on('message', (data) => ws.send('got ' + data));
    });
    const bad = new Ws(url);
    const good = new Ws(url);
    bad.on('error', () => {});
    await Promise.all([once(bad, 'open'), once(good, 'open')]);
    bad._socket.write(Buffer.alloc(20, 0xff));
    await new Promise((resolve) => bad.on('close', resolve));
    await lines(2);
    good.send('a');
    print(String((await once(good, 'message'))[0]));
  `);
  assert.deepEqual(lines.toSorted(), ['closed 1006', 'got a', 'uncaught mine']);
});

test('an interceptor’s after that throws: uncaught, and the connection is there', async () => {
  const lines = await run(`
    const { url } = await serve({ interceptors: [{ after() { throw new Error('mine'); } }] });
    const client = new Ws(url);
    await once(client, 'open');
    await lines(1);
    print('open', client.readyState);
  `);
  assert.deepEqual(lines, ['uncaught mine', 'open 1']);
});

test('a handler’s transportError and closed that throw: warnings', async () => {
  const lines = await run(`
    const { wss, url } = await serve({
      handler: {
        message() { throw new Error('in message'); },
        transportError() { throw new Error('in transportError'); },
        closed() { throw new Error('in closed'); },
      },
    });
    const client = new Ws(url);
    await once(client, 'open');
    client.send('x');
    print('closed', (await once(client, 'close'))[0]);
    await lines(3);
  `);
  assert.deepEqual(lines.toSorted(), ['closed 1011', 'warning in closed', 'warning in transportError']);
});

test('a client without an error listener: a refused connection is a warning, no crash', async () => {
  const lines = await run(`
    const { WebSocket } = await import('./src/ws.ts');
    const client = new WebSocket('ws://127.0.0.1:1/');
    print('closed', await new Promise((resolve) => client.on('close', resolve)));
    await lines(2);
  `);
  assert.ok(lines.includes('closed 1006'));
  assert.match(
    lines.find((line) => line.startsWith('warning')) ?? '',
    /^warning .*ECONNREFUSED.*ws:\/\/127\.0\.0\.1:1\/.*listen for 'error'/,
  );
});

/** What an idle connection keeps alive, counted in objects by the engine itself. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import Ws from 'ws';
import { typescript } from '../support/programs.ts';

const CONNECTIONS = 200;

/** Counts, by name, of the objects that a server's process holds for each of its connections. */
async function perConnection(options: string): Promise<Record<string, number>> {
  const source = `
    import { queryObjects } from 'node:v8';
    import { Socket } from 'node:net';
    import { IncomingMessage } from 'node:http';
    import { createInflateRaw, createDeflateRaw } from 'node:zlib';
    import { once } from 'node:events';
    import { WebSocket, WebSocketServer } from './src/ws.ts';
    const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, ${options} });
    // The same listener for all, as a server should have it.
    const echo = function (data, isBinary) { this.send(data, { binary: isBinary }); };
    wss.on('connection', (ws) => ws.on('message', echo));
    const Timeout = setTimeout(() => {}, 0).constructor;
    const kinds = {
      Socket, WebSocket, IncomingMessage, Timeout, Function, Buffer, Promise,
      Zlib: Object.getPrototypeOf(createInflateRaw().constructor),
    };
    const count = () => {
      for (let i = 0; i < 5; i++) gc();
      return Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, queryObjects(kind)]));
    };
    await once(wss, 'listening');
    process.stdin.on('data', () => console.log(JSON.stringify(count())));
    console.log(wss.address().port);
  `;
  const child = spawn(
    process.execPath,
    ['--expose-gc', ...typescript, '--input-type=module', '--eval', source],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const { value: port } = await lines.next();
  const clients: Ws[] = [];
  const message = 'a message that is long enough to be compressed '.repeat(50);
  const countWithMore = async (): Promise<Record<string, number>> => {
    const added = Array.from({ length: CONNECTIONS }, () => new Ws(`ws://127.0.0.1:${port}`));
    clients.push(...added);
    await Promise.all(
      added.map(async (client) => {
        await once(client, 'open');
        client.send(message);
        assert.equal(String((await once(client, 'message'))[0]), message);
      }),
    );
    child.stdin.write('count\n');
    const { value } = await lines.next();
    return JSON.parse(String(value));
  };
  // What is made once for all is made for the first ones.
  const first = await countWithMore();
  const second = await countWithMore();
  for (const client of clients) client.terminate();
  child.kill();
  await once(child, 'close');
  return Object.fromEntries(
    Object.entries(second).map(([name, n]) => [name, (n - first[name]!) / CONNECTIONS]),
  );
}

for (const [what, options] of [
  ['plain', ''],
  ['with permessage-deflate, after a message each way', 'perMessageDeflate: true'],
] as const) {
  test(`an idle connection, ${what}: one socket, no timer, no closure of ours, no zlib stream, no buffer`, async () => {
    const counts = await perConnection(options);
    assert.equal(counts['WebSocket'], 1);
    assert.equal(counts['Socket'], 1, 'not the one that it was accepted with as well');
    for (const name of ['IncomingMessage', 'Timeout', 'Buffer', 'Promise', 'Zlib']) {
      // The process itself may make a few more of its own.
      assert.ok(counts[name]! < 0.1, `${counts[name]} of ${name} per connection`);
    }
    // Every writable stream of Node's has one of its own, bound to it.
    assert.ok(counts['Function']! < 1.1, `${counts['Function']} functions per connection`);
  });
}

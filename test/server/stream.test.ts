import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from '../../src/ws.ts';
import { until } from '../support/net.ts';
import { closeFrame, frame, listen, RawPeer } from './support.ts';

test('for await gives text as strings and binary as Buffers, and ends with the connection', async () => {
  const { wss, port } = await listen();
  const seen: unknown[] = [];
  const done = new Promise<void>((resolve) => {
    wss.on('connection', async (ws) => {
      for await (const message of ws) {
        seen.push(message);
        // Others come meanwhile.
        await new Promise((turn) => setImmediate(turn));
      }
      resolve();
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(2, 'b'), frame(1, 'c'), closeFrame(1000)]));
  await done;
  assert.deepEqual(seen, ['a', Buffer.from('b'), 'c']);
  await wss.close({});
});

test('a loop that takes its time slows the peer down, and loses nothing', async () => {
  const { wss, port } = await listen();
  let proceed = (): void => {};
  let count = 0;
  let server: WebSocket | undefined;
  wss.on('connection', async (ws) => {
    server = ws;
    for await (const message of ws) {
      assert.equal(message, String(count++));
      if (count === 1) {
        await new Promise<void>((resolve) => {
          proceed = resolve;
        });
      }
    }
  });
  const peer = await RawPeer.open(port);
  for (let i = 0; i < 1000; i++) peer.socket.write(frame(1, String(i)));
  await until('the connection is paused', () => server?.isPaused);
  proceed();
  await until('all', () => count === 1000);
  peer.socket.destroy();
  await wss.close({});
});

test('a protocol error is thrown out of the loop, after the messages before it', async () => {
  const { wss, port } = await listen();
  const seen: unknown[] = [];
  const thrown = new Promise<unknown>((resolve) => {
    wss.on('connection', async (ws) => {
      try {
        for await (const message of ws) seen.push(message);
        resolve(undefined);
      } catch (error) {
        resolve(error);
      }
    });
  });
  const peer = await RawPeer.open(port);
  peer.socket.write(Buffer.concat([frame(1, 'a'), frame(3)]));
  assert.match(String(await thrown), /invalid opcode 3/);
  assert.deepEqual(seen, ['a']);
  await wss.close({});
});

test('leaving the loop closes the connection', async () => {
  const { wss, url } = await listen();
  wss.on('connection', async (ws) => {
    for await (const message of ws) if (message === 'enough') break;
  });
  const client = new WebSocket(url);
  client.on('open', () => {
    client.send('one');
    client.send('enough');
    client.send('more');
  });
  assert.equal(await new Promise((resolve) => client.on('close', resolve)), 1005);
  await wss.close({});
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { buildPolicyFile } from '../../src/policy/index.ts';
import { PushServer, queryUser } from '../../src/push/index.ts';
import { until } from '../support/net.ts';

const allow = [{ domain: 'app.example.com', ports: '80,8080' }];
const REQUEST = '<policy-file-request/>\0';

async function exchange(port: number, pieces: Iterable<string>): Promise<string> {
  const socket = connect(port, '127.0.0.1').setNoDelay(true);
  let text = '';
  socket.setEncoding('utf8').on('data', (data) => {
    text += data;
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.on('error', () => {});
  for (const piece of pieces) {
    if (!socket.writable) break;
    await new Promise((resolve) => socket.write(piece, resolve));
  }
  await closed;
  return text;
}

for (const kind of ['an http.Server', 'a port of its own'] as const) {
  test(`the policy is answered on ${kind} as well, and WebSockets go on beside it`, async (t) => {
    const log: string[] = [];
    const http = kind === 'an http.Server' ? createServer().listen(0, '127.0.0.1') : undefined;
    if (http !== undefined) await once(http, 'listening');
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    t.after(() => taken.close());
    const push = new PushServer({
      ...(http === undefined ? { port: 0, host: '127.0.0.1' } : { server: http }),
      interceptors: [queryUser('operator')],
      policy: { port: (taken.address() as AddressInfo).port, host: '127.0.0.1', allow },
      log: (level, message) => level === 'info' || log.push(message),
    });
    t.after(async () => {
      await push.close();
      http?.close();
      http?.closeAllConnections();
    });
    await push.ready;
    const { port } = (http?.address() ?? push.address()) as AddressInfo;

    assert.equal(await exchange(port, [REQUEST]), `${buildPolicyFile({ allow })}\0`);
    assert.equal(await exchange(port, REQUEST), `${buildPolicyFile({ allow })}\0`);
    assert.match(await exchange(port, ['<html>']), /^HTTP\/1\.1 400 /);
    assert.match(log[0] ?? '', /another program does/, 'the policy port is taken, and the rest runs on');

    const page = new WebSocket(`ws://127.0.0.1:${port}/socketServer?operator=alice`);
    t.after(() => page.terminate());
    const messages: string[] = [];
    page.on('message', (data) => messages.push(String(data)));
    await once(page, 'open');
    await push.send('alice', 'hello');
    await until('the message', () => messages.includes('hello'));
  });
}

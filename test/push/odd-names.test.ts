/** Names that a URL's path can't hold, and all others, through the admin API and the command line. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { after, before, test } from 'node:test';
import { inPath } from '../../src/cli/admin-client.ts';
import { memoryBroker, type PushServer, signTicket } from '../../src/index.ts';
import { adminOf } from '../admin/support.ts';
import { startPush } from './support.ts';

let http: Server;
let push: PushServer;
let port: number;
before(async () => {
  ({ push } = await startPush({ broker: memoryBroker() }));
  http = createServer(adminOf(push, { tokens: ['tok'] }));
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  ({ port } = http.address() as AddressInfo);
});
after(() => {
  http.close();
  http.closeAllConnections();
});

/** As it is written, without what URL classes do to it. */
function ask(
  method: string,
  path: string,
  body = '',
): Promise<{ status: number; body: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let text = '';
    socket.on('data', (data) => {
      text += data.toString();
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', json = ''] = text.split('\r\n\r\n');
      resolve({ status: Number(head.split(' ')[1]), body: JSON.parse(json || '{}') });
    });
    socket.end(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tok\r\nConnection: close\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
  });
}

const REQUESTS: [method: string, path: string, body?: string][] = [
  ['POST', '/api/users/NAME/messages', '"hello"'],
  ['DELETE', '/api/users/NAME/sessions'],
  ['PUT', '/api/users/NAME/block'],
  ['GET', '/api/users/NAME/block'],
  ['DELETE', '/api/users/NAME/block'],
  ['PUT', '/api/logins/NAME/block'],
  ['DELETE', '/api/logins/NAME/block'],
  ['PUT', '/api/users/bob/topics/NAME'],
  ['PUT', '/api/users/bob/topics/NAME/revocation'],
  ['DELETE', '/api/users/bob/topics/NAME/revocation'],
  ['POST', '/api/topics/NAME/messages', '"hello"'],
];

const FIT = [
  'a/b',
  '/',
  '../bob',
  'bob/..',
  '...',
  'a%2Fb',
  '%2e%2e',
  'a?b#c;d&e=f+g h',
  'a\\b',
  '你好/再见',
  '😀',
  'é',
  '\u202e\ufeff\u2028',
  '__proto__',
  'constructor',
  'block',
  'messages',
  '*',
  'é'.repeat(128),
];
for (const name of FIT) {
  test(`${JSON.stringify(name)} is one name, as it was written, wherever it stands`, async () => {
    for (const [method, path, body] of REQUESTS) {
      const answer = await ask(method, path.replace('NAME', encodeURIComponent(name)), body);
      assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      if (method === 'POST') assert.ok(String(answer.body['channel']).endsWith(name));
      if (method === 'GET') assert.equal(answer.body['user'], name);
    }
    assert.equal(inPath(name), encodeURIComponent(name));
    assert.ok(signTicket(name, { secret: 'a secret of more than sixteen bytes' }));
  });
}

for (const name of ['.', '..']) {
  test(`${name} is no name: with it, a path would be another`, async () => {
    for (const written of [name, name.replaceAll('.', '%2e'), name.replaceAll('.', '%2E')]) {
      for (const [method, path, body] of REQUESTS) {
        const answer = await ask(method, path.replace('NAME', written), body);
        assert.equal(answer.status, 400, `${method} ${path}`);
      }
    }
    assert.throws(() => inPath(name), /can't be a name/);
    assert.throws(() => signTicket(name, { secret: 'a secret of more than sixteen bytes' }), TypeError);
    await assert.rejects(push.send(name, 'x'), TypeError);
    await assert.rejects(push.block({ login: name }), TypeError);
    await assert.rejects(push.publish(name, 'x'), TypeError);
  });
}

test('what is not UTF-8, or not there, is refused everywhere', async () => {
  for (const written of [
    '%',
    '%zz',
    '%C0%EE',
    '%ED%A0%80',
    '%E4%BD',
    '你好',
    '%00',
    '%0A',
    '%7F',
    '%C2%85',
    'x'.repeat(300),
  ]) {
    for (const [method, path, body] of REQUESTS) {
      assert.equal(
        (await ask(method, path.replace('NAME', written), body)).status,
        400,
        `${method} ${path} ${written}`,
      );
    }
  }
  for (const written of ['', 'a/b', '../..', 'a/../b']) {
    const answer = await ask('DELETE', `/api/users/${written}/sessions`);
    assert.equal(answer.status, 404, written);
  }
});

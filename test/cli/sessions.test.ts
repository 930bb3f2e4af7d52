/** `tidings disconnect`, `block` and `unblock`, against a server. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { main } from '../../src/cli/main.ts';
import { PushServer } from '../../src/push/index.ts';
import { adminOf } from '../admin/support.ts';

async function served(t: TestContext) {
  const push = new PushServer({ log: () => {} });
  const server = createServer(adminOf(push, { maxBody: 1_000 })).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    await push.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const call = async (...args: string[]) => {
    let output = '';
    const mocks = (['log', 'error'] as const).map((stream) =>
      t.mock.method(console, stream, (line: string) => {
        output += line;
      }),
    );
    const status = await main([...args, '--url', url, '--token', 'T'], {});
    for (const mock of mocks) mock.mock.restore();
    return { status, output };
  };
  return { push, call };
}

test('disconnect, block and unblock print what they did', async (t) => {
  const { push, call } = await served(t);
  const filters = [
    '--login',
    'L/1',
    '--session',
    's',
    '--device',
    'd',
    '--code',
    '4000',
    '--reason',
    'bye & bye',
  ];
  assert.deepEqual(await call('disconnect', 'al ice/', ...filters), { status: 0, output: '{"ended":0}' });
  assert.deepEqual(await call('block', 'al ice/', '--reason', 'why'), { status: 0, output: '{"ended":0}' });
  assert.deepEqual(await push.blocks(), [{ user: 'al ice/', reason: 'why' }]);
  assert.deepEqual(await call('unblock', 'al ice/'), { status: 0, output: '{"lifted":true}' });
  assert.deepEqual(await call('block', '--login', 'L/1', '--for', '60'), {
    status: 0,
    output: '{"ended":0}',
  });
  const [block] = await push.blocks();
  assert.equal(block!.login, 'L/1');
  assert.ok(Math.abs(block!.until! - Date.now() - 60_000) < 30_000);
  assert.deepEqual(await call('unblock', '--login', 'L/1'), { status: 0, output: '{"lifted":true}' });
  assert.deepEqual(await call('unblock', 'nobody'), { status: 0, output: '{"lifted":false}' });
});

test('what names nobody, or can not be, is refused', async (t) => {
  const { push, call } = await served(t);
  for (const args of [
    ['disconnect'],
    ['disconnect', 'a', 'b'],
    ['block'],
    ['unblock'],
    ['block', 'a', '--login', 'b'],
  ])
    assert.equal((await call(...args)).status, 2, args.join(' '));
  const { status, output } = await call('disconnect', 'alice', '--code', '2000');
  assert.equal(status, 1);
  assert.match(output, /3000 to 4999/);
  assert.deepEqual(await push.blocks(), []);
});

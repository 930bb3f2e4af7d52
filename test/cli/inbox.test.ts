/** `tidings inbox`, `withdraw` and `send --ttl --replaces`, and the admin API that they use. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { main } from '../../src/cli/main.ts';
import type { Receipt } from '../../src/pubsub/store/broker.ts';
import { PushServer } from '../../src/push/index.ts';
import { adminOf } from '../admin/support.ts';

async function served(t: TestContext) {
  const push = new PushServer({ log: () => {} });
  const server = createServer(adminOf(push, { maxBody: 100_000 })).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.close();
    server.closeAllConnections();
    await push.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const call = async (...args: string[]) => {
    const output: string[] = [];
    const mocks = (['log', 'error'] as const).map((stream) =>
      t.mock.method(console, stream, (line: string) => {
        output.push(line);
      }),
    );
    const status = await main([...args, '--url', url, '--token', 'T'], {});
    for (const mock of mocks) mock.mock.restore();
    return { status, output: output.join('\n') };
  };
  const http = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(url + path, {
      method,
      headers: { Authorization: 'Bearer T', 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, never> };
  };
  return { push, call, http };
}

test('`tidings inbox` lists what there is, in words or as JSON', async (t) => {
  const { push, call } = await served(t);
  await push.send('al ice/', 'first\u001b[31m line\nand more');
  await push.send('al ice/', { subject: 'second' });
  const third = await push.send('al ice/', 'third');
  await push.mark('al ice/', { as: 'read', messages: [third] });
  const { status, output } = await call('inbox', 'al ice/', '--limit', '2');
  assert.equal(status, 0);
  const lines = output.split('\n');
  assert.match(lines[0]!, /^3 {2}\S+T\S+Z {2}\S+ {2}read {4}third$/);
  assert.match(lines[1]!, /unseen {2}\{"subject":"second"\}$/);
  assert.deepEqual(lines.slice(2), ['2 unseen, 2 unread, 3 in all', 'there are more: --before 2']);
  const rest = (await call('inbox', 'al ice/', '--before', '2')).output;
  assert.match(rest, /first\\u001b\[31m line and more\n2 unseen/);

  const exact = '{"id":1724442618569203714,"price":10.00}';
  const { status: sent } = await call('send', 'bob', '--json', exact);
  assert.equal(sent, 0);
  assert.ok((await call('inbox', 'bob')).output.includes(`  ${exact}\n`));
  assert.ok((await call('inbox', 'bob', '--json')).output.includes(`"data":${exact},`));

  const page = JSON.parse((await call('inbox', 'al ice/', '--limit', '1', '--json')).output);
  assert.deepEqual([page.messages[0].data, page.messages[0].state], ['third', 'read']);
  const before = JSON.stringify(page.before);
  const unread = JSON.parse(
    (await call('inbox', 'al ice/', '--before', before, '--state', 'unread', '--json')).output,
  );
  assert.equal(unread.messages.length, 2);
  assert.equal(unread.before, undefined);
  for (const args of [['inbox'], ['inbox', 'a', 'b'], ['inbox', 'a', '--limit', '0']]) {
    assert.equal((await call(...args)).status, 2, args.join(' '));
  }
  for (const args of [
    ['--state', 'gone'],
    ['--before', 'x'],
  ]) {
    const { status, output } = await call('inbox', 'a', ...args);
    assert.equal(status, 1);
    assert.match(output, /answered 400/);
  }
});

test('`tidings send` gives a message a lifetime and what it replaces; `tidings withdraw` takes it back', async (t) => {
  const { push, call } = await served(t);
  const list = async () => (await push.inbox('alice')).messages;
  await call('send', 'alice', '1 order', '--replaces', 'or & ders');
  const sent = await call('send', 'alice', '2 orders', '--replaces', 'or & ders', '--ttl', '60000');
  const receipt = JSON.parse(sent.output);
  assert.deepEqual(
    (await list()).map(({ data, id, expires, time }) => [data, id, expires! - time]),
    [['2 orders', receipt.id, 60_000]],
  );
  assert.deepEqual(await call('withdraw', 'alice', '--key', 'other'), {
    status: 1,
    output: '{"withdrawn":false}',
  });
  assert.deepEqual(await call('withdraw', 'alice', '--key', 'or & ders'), {
    status: 0,
    output: '{"withdrawn":true}',
  });
  assert.deepEqual(await list(), []);
  const { id } = await push.send('alice', 'by id');
  assert.deepEqual(await call('withdraw', 'alice', id), { status: 0, output: '{"withdrawn":true}' });
  assert.deepEqual(await call('withdraw', 'alice', id), { status: 1, output: '{"withdrawn":false}' });
  await call('publish', 'news', 'flash', '--replaces', 'k');
  const topic = await push.publish('news', 'x');
  assert.equal((await call('withdraw', 'news', topic.id, '--topic')).output, '{"withdrawn":true}');
  assert.equal((await call('withdraw', 'news', '--key', 'k', '--topic')).output, '{"withdrawn":true}');
  assert.equal((await call('withdraw', 'news', topic.id, '--topic')).status, 1);
  for (const args of [[], ['alice'], ['alice', 'x', '--key', 'k'], ['alice', 'x', 'y']]) {
    assert.equal((await call('withdraw', ...args)).status, 2, args.join(' '));
  }
});

test('the admin API: counts, marks, inbox and withdrawal', async (t) => {
  const { push, http } = await served(t);
  const receipts: Receipt[] = [];
  for (let i = 1; i <= 4; i++) receipts.push(await push.send('alice', i));
  await push.send('alice', Buffer.from([0, 255]));
  const { epoch, offset, id } = receipts[1]!;
  const counts = (unseen: number, unread: number, all: number) => ({ unseen, unread, all });
  assert.deepEqual(await http('GET', '/api/users/alice/counts'), { status: 200, body: counts(5, 5, 5) });
  const marks: [object, number, object][] = [
    [{ as: 'read', messages: [{ epoch, offset, id }] }, 1, counts(4, 4, 5)],
    [{ as: 'seen', upTo: { epoch, offset, id } }, 1, counts(3, 4, 5)],
    [{ as: 'archived', ids: [receipts[2]!.id, 'none'] }, 1, counts(2, 3, 4)],
    [{ as: 'seen' }, 3, counts(0, 3, 4)],
    [{ as: 'seen' }, 0, counts(0, 3, 4)],
  ];
  for (const [mark, changed, expected] of marks) {
    const answer = await http('POST', '/api/users/alice/marks', mark);
    assert.deepEqual(answer, { status: 200, body: { changed, counts: expected } }, JSON.stringify(mark));
  }
  const page = await http('GET', '/api/users/alice/inbox?limit=2&state=all');
  const [bytes] = page.body['messages'] as { data: string; encoding: string }[];
  assert.deepEqual([bytes!.data, bytes!.encoding], ['AP8=', 'base64']);
  const before = encodeURIComponent(JSON.stringify(page.body['before']));
  const next = await http('GET', `/api/users/alice/inbox?before=${before}`);
  assert.deepEqual(
    (next.body['messages'] as { data: unknown }[]).map(({ data }) => data),
    [2, 1],
  );
  assert.deepEqual((await http('DELETE', `/api/users/alice/messages/${id}`)).body, { withdrawn: true });
  assert.deepEqual((await http('DELETE', `/api/users/alice/messages/${id}`)).body, { withdrawn: false });
  const sent = await http('POST', '/api/users/alice/messages?ttl=60000&replaces=k', 'x');
  assert.equal(sent.status, 201);
  assert.deepEqual((await http('DELETE', '/api/users/alice/messages?key=k')).body, { withdrawn: true });
  await push.publish('news', 'x', { replaces: 'k' });
  assert.deepEqual((await http('DELETE', '/api/topics/news/messages?key=k')).body, { withdrawn: true });
  const topic = await push.publish('news', 'y');
  assert.deepEqual((await http('DELETE', `/api/topics/news/messages/${topic.id}`)).body, { withdrawn: true });

  const refused: [string, string, unknown?][] = [
    ['GET', '/api/users/alice/inbox?limit=0'],
    ['GET', '/api/users/alice/inbox?limit=x'],
    ['GET', '/api/users/alice/inbox?state=gone'],
    ['GET', '/api/users/alice/inbox?before=x'],
    ['GET', '/api/users/alice/inbox?before=null'],
    ['GET', '/api/users/alice/inbox?befor=1'],
    ['GET', '/api/users/a%0Ab/counts'],
    ['POST', '/api/users/alice/marks', {}],
    ['POST', '/api/users/alice/marks', { as: 'read', all: true }],
    ['POST', '/api/users/alice/marks', { as: 'read', messages: [{}] }],
    ['POST', '/api/users/alice/marks', []],
    ['DELETE', '/api/users/alice/messages'],
    ['DELETE', '/api/users/alice/messages?key='],
    ['POST', '/api/users/alice/messages?ttl=0', 'x'],
    ['POST', '/api/users/alice/messages?ttl=-1', 'x'],
    ['POST', '/api/users/alice/messages?replaces=', 'x'],
  ];
  for (const [method, path, body] of refused) {
    assert.equal((await http(method, path, body)).status, 400, `${method} ${path} ${JSON.stringify(body)}`);
  }
  assert.equal((await http('PUT', '/api/users/alice/counts')).status, 405);
});

/** What is answered on the port that pages connect to, and on that of operators, where there is one. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import { AdminTokens } from '../../src/admin/tokens.ts';
import { sites } from '../../src/cli/site.ts';
import { PushServer } from '../../src/push/index.ts';
import { serving } from './support.ts';

const push = new PushServer({ log: () => {} });
const { main } = sites({
  push,
  tokens: new AdminTokens(['T']),
  log: push.log,
  maxBody: 1_000,
  storeGrace: 60_000,
  showData: false,
  proxies: [],
  hasAdminPort: false,
  path: '/socketServer',
});
let [url, port] = ['', 0];
let close: () => void;

before(async () => {
  ({ url, port, close } = await serving(main));
});
after(async () => {
  close();
  await push.close();
});

/** What fetch would not send. */
function ask(url: string, headers: object = {}, path = '/metrics'): Promise<number> {
  return new Promise((resolve, reject) => {
    request(new URL(url), { headers: { ...headers }, path, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode!);
    })
      .on('error', reject)
      .end();
  });
}

test('metrics need no token on this machine, but from a proxy, from a page, and by another name they do', async () => {
  for (const headers of [{}, { Host: `localhost:${port}` }, { Host: '[::1]' }, { Host: '127.8.8.8' }]) {
    assert.equal(await ask(url, headers as object), 200, JSON.stringify(headers));
  }
  for (const headers of [
    { Host: 'rebound.example.com' },
    { Host: `rebound.example.com:${port}` },
    { Host: 'localhost.example.com' },
    { Host: '127.0.0.1.example.com' },
    { Host: '127.0.0.1@example.com' },
    { 'X-Forwarded-For': '203.0.113.1' },
    { Forwarded: 'for=203.0.113.1' },
    { 'X-Real-IP': '203.0.113.1' },
    { Via: '1.1 proxy' },
    { Origin: 'http://evil.example.com' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { Connection: 'upgrade' },
  ]) {
    assert.equal(await ask(url, headers as object), 401, JSON.stringify(headers));
  }
  assert.equal(await ask(url, { Via: '1.1 proxy', Authorization: 'Bearer T' }), 200);
  assert.equal(await ask(url, {}, 'http://rebound.example.com/metrics'), 401);
});

test('the page for operators is there, with nothing that it does not need; and what is below it is not', async () => {
  for (const [path, type] of [
    ['/admin', 'text/html'],
    ['/admin/page.css', 'text/css'],
    ['/admin/page.js', 'text/javascript'],
  ] as const) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get('content-type')!, new RegExp(`^${type}; charset=utf-8$`));
    assert.match(
      answer.headers.get('content-security-policy')!,
      /^default-src 'none';.*frame-ancestors 'none'/,
    );
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    const text = await answer.text();
    assert.doesNotMatch(text, /innerHTML|insertAdjacentHTML|document\.write|https?:\/\//);
    if (type === 'text/html') assert.doesNotMatch(text, / style=| on[a-z]+=|<script(?! type="module" src)/);
    const headers = { 'If-None-Match': answer.headers.get('etag')! };
    assert.equal((await fetch(url + path, { headers })).status, 304);
    assert.equal(
      (await fetch(url + path, { method: 'HEAD' })).headers.get('content-length'),
      String(Buffer.byteLength(text)),
    );
    assert.equal((await fetch(url + path, { method: 'POST' })).headers.get('allow'), 'GET, HEAD');
  }
  const slash = await fetch(`${url}/admin/`, { redirect: 'manual' });
  assert.deepEqual([slash.status, slash.headers.get('location')], [308, '../admin']);
  for (const path of [
    '/admin/page.html',
    '/admin/..%2fpage.js',
    '/admin/page.ts',
    '/administrator',
    '/admin//page.js',
  ]) {
    assert.equal((await fetch(url + path)).status, 404, path);
  }
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { demoSite } from '../../src/demo/index.ts';
import { PushServer } from '../../src/push/index.ts';

// The page's own scripts are plain JavaScript, which the compiler knows nothing of.
const script = (name: string): Promise<unknown> =>
  import(String(new URL(`../../src/demo/${name}`, import.meta.url)));
const { chooseLanguage, texts } = (await script('texts.js')) as {
  chooseLanguage(wanted: string[]): string;
  texts: Record<string, Record<string, unknown>>;
};

let http: Server;
let base: string;
const push = new PushServer();

before(async () => {
  const site = demoSite({ push, instance: '<"one">', path: '/ws' });
  http = createServer((request, response) => {
    if (!site(request, response)) response.writeHead(404).end('not the demo’s');
  }).listen(0, '127.0.0.1');
  http.keepAliveTimeout = 0;
  await once(http, 'listening');
  base = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
});
after(async () => {
  http.closeAllConnections();
  http.close();
  await push.close();
});

const MAIL = { id: '0123456789abcdef', from: 'bob', to: 'alice', subject: 'Hello', text: 'How are you?' };

function post(body: string, type = 'application/json'): Promise<Response> {
  return fetch(`${base}/demo/mail`, { method: 'POST', headers: { 'Content-Type': type }, body });
}

test('the page comes with a policy that runs only its own scripts, and with its settings', async () => {
  const response = await fetch(base);
  assert.equal(response.status, 200);
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(policy, /^default-src 'none'; script-src 'self'; /);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  const html = await response.text();
  const settings = html.match(/<meta name="tidings" content="([^"]*)"/)?.[1] ?? '';
  const parsed = JSON.parse(settings.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code)));
  assert.equal(parsed.instance, '<"one">');
  assert.equal(parsed.path, '/ws');
  assert.equal(parsed.userParameter, 'operator');
  assert.doesNotMatch(settings, /[<>]/);
});

test('all that the page asks for is there, HEAD and other methods are answered rightly', async () => {
  const html = await (await fetch(base)).text();
  const paths = [...html.matchAll(/(?:src|href)="(\/demo\/[^"]+)"/g)].map(([, path]) => path as string);
  assert.ok(paths.length >= 3);
  for (const path of new Set([...paths, '/demo/texts.js']))
    assert.equal((await fetch(base + path)).status, 200, path);
  const head = await fetch(`${base}/demo/page.css`, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal((await head.text()).length, 0);
  const wrong = await fetch(base, { method: 'DELETE' });
  assert.equal(wrong.status, 405);
  assert.equal(wrong.headers.get('allow'), 'GET, HEAD');
  assert.equal((await fetch(`${base}/demo/mail`)).status, 405);
});

test('what is not the demo’s is left to others', async () => {
  for (const path of ['/demo', '/demo/../index.ts', '/demo/index.ts', '/api/users', '/tidings.js'])
    assert.equal((await fetch(base + path)).status, 404, path);
});

test('a mail is stored in the inbox of its receiver, once for every id', async () => {
  const first = await post(JSON.stringify(MAIL));
  assert.equal(first.status, 201);
  assert.equal(((await first.json()) as { duplicate: boolean }).duplicate, false);
  const again = await post(JSON.stringify(MAIL));
  assert.equal(again.status, 201);
  assert.equal(((await again.json()) as { duplicate: boolean }).duplicate, true);
  const { count, messages } = await push.pending('alice');
  assert.equal(count, 1);
  const { to: _, ...stored } = MAIL;
  assert.deepEqual(messages[0]?.data, stored);
});

for (const [what, body, status] of [
  ['no JSON', '{', 400],
  ['null', 'null', 400],
  ['a field missing', JSON.stringify({ ...MAIL, to: undefined }), 400],
  ['a field of another type', JSON.stringify({ ...MAIL, text: 7 }), 400],
  ['a subject that is too long', JSON.stringify({ ...MAIL, subject: 'x'.repeat(201) }), 400],
  ['a name that the push server does not take', JSON.stringify({ ...MAIL, to: 'a\u0000b' }), 400],
  ['a body that is too long', 'x'.repeat(200_000), 413],
] as const)
  test(`refused with ${status}: ${what}`, async () => {
    const response = await post(body);
    assert.equal(response.status, status);
    assert.equal(typeof ((await response.json()) as { message: string }).message, 'string');
  });

test('refused with 415: what a form of another site could send without asking', async () => {
  assert.equal((await post(JSON.stringify(MAIL), 'text/plain')).status, 415);
});

test('it keeps no mail and no state of mail: what it stores in the browser is the language and the colours', () => {
  const sources = readdirSync('src/demo').map((name) => readFileSync(`src/demo/${name}`, 'utf8'));
  const stored = sources.flatMap(
    (source) => source.match(/(?:localStorage|sessionStorage|indexedDB)[^;]*/g) ?? [],
  );
  assert.deepEqual(
    stored.map((call) => call.replace(/`[^`]*`/, 'key')),
    ['localStorage.getItem(key)', 'localStorage.setItem(key, value)'],
  );
  const keys = sources.flatMap((source) => [...source.matchAll(/\bkee?pt?\('(\w+)'/g)].map(([, key]) => key));
  assert.deepEqual([...new Set(keys)].sort(), ['language', 'theme']);
});

test('every text that the page asks for is there, in both languages', () => {
  const html = readFileSync('src/demo/page.html', 'utf8');
  const source = readFileSync('src/demo/page.js', 'utf8');
  const asked = [
    ...[...html.matchAll(/data-(?:text|label)="([^"]+)"/g)].map(([, name]) => name as string),
    ...[...source.matchAll(/\bt\('([^']+)'/g)].map(([, name]) => name as string),
  ];
  assert.ok(asked.length > 40);
  for (const name of asked) assert.ok(name in texts['en']!, name);
});

test('both languages have the same texts', () => {
  assert.deepEqual(Object.keys(texts['zh']!).sort(), Object.keys(texts['en']!).sort());
  for (const [name, text] of Object.entries(texts['en']!))
    assert.equal(typeof texts['zh']![name], typeof text, name);
  assert.equal(chooseLanguage(['fr', 'zh-TW', 'en']), 'zh');
  assert.equal(chooseLanguage(['fr']), 'en');
});

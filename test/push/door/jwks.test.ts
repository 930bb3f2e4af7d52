/** Keys at an address: how often it is asked, what becomes of new keys, and of an address that is away. */
import '../../support/held-clock.ts';
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { SignJWT } from 'jose';
import { jwt, type PushInterceptor } from '../../../src/index.ts';
import { keysOf } from '../../../src/push/door/jwks.ts';
import { holdClock } from '../../support/held-clock.ts';
import { until } from '../../support/net.ts';
import { Page, startPush } from '../support.ts';

interface Pair {
  kid: string | undefined;
  privateKey: KeyObject;
  jwk: object;
}

function pair(kid: string | undefined, extra: object = {}): Pair {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return {
    kid,
    privateKey,
    jwk: { ...publicKey.export({ format: 'jwk' }), ...(kid !== undefined && { kid }), ...extra },
  };
}

function token({ kid, privateKey }: Pair, named = kid): Promise<string> {
  return new SignJWT({ sub: 'alice', exp: Math.floor(Date.now() / 1000) + 600 })
    .setProtectedHeader({ alg: 'ES256', ...(named !== undefined && { kid: named }) })
    .sign(privateKey);
}

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** An issuer that publishes what it is told to. */
async function issuer(t: TestContext, first: Answer | Pair[]) {
  let asked = 0;
  let answer: Answer | Pair[] = first;
  const server = createServer((request, response) => {
    asked++;
    if (typeof answer === 'function') answer(request, response);
    else response.end(JSON.stringify({ keys: answer.map(({ jwk }) => jwk) }));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    publish: (next: Answer | Pair[]) => {
      answer = next;
    },
    get asked() {
      return asked;
    },
  };
}

/** 200, or the status of the refusal. */
async function statusOf(interceptor: PushInterceptor, text: string): Promise<number> {
  const answer = await interceptor.before!(
    { headers: { authorization: `Bearer ${text}` }, url: '/', socket: {} },
    {},
  );
  if (answer instanceof Response && answer.status === 503)
    assert.ok(Number(answer.headers.get('Retry-After')) > 0);
  return answer instanceof Response ? answer.status : 200;
}

test('the address is asked once, by any number of pages at once, and again when the keys are old, while they serve', async (t) => {
  const clock = holdClock(t);
  const [a] = [pair('a')];
  const id = await issuer(t, [a]);
  const interceptor = jwt({ jwks: id.url, maxAge: 60_000 });
  const text = await token(a);
  const statuses = await Promise.all(Array.from({ length: 100 }, () => statusOf(interceptor, text)));
  assert.deepEqual(new Set(statuses), new Set([200]));
  assert.equal(id.asked, 1);
  clock.pass(61_000);
  await Promise.all(Array.from({ length: 10 }, () => statusOf(interceptor, text)));
  await until('asked again', () => id.asked === 2);
});

test('a key that is new is found by the first token of it, and no user is refused in between', async (t) => {
  const [a, b, c] = [pair('a'), pair('b'), pair('c')];
  const id = await issuer(t, [a]);
  const interceptor = jwt({ jwks: id.url });
  assert.equal(await statusOf(interceptor, await token(a)), 200);
  id.publish([a, b]);
  const [old, fresh] = [await token(a), await token(b)];
  const statuses = await Promise.all(
    Array.from({ length: 50 }, (_, n) => statusOf(interceptor, n % 2 ? old : fresh)),
  );
  assert.deepEqual(new Set(statuses), new Set([200]));
  assert.equal(id.asked, 2);
  // The old one is taken away: its tokens go on until the keys are asked for again.
  id.publish([b, c]);
  assert.equal(await statusOf(interceptor, await token(c)), 200);
  assert.equal(await statusOf(interceptor, await token(a)), 401);
});

test('one that is published while the keys are being fetched is found as well', async (t) => {
  const [a, b] = [pair('a'), pair('b')];
  let hold: (() => void) | undefined;
  const id = await issuer(t, (_request, response) => {
    hold = () => response.end(JSON.stringify({ keys: [a.jwk] }));
  });
  const interceptor = jwt({ jwks: id.url });
  const first = statusOf(interceptor, await token(a));
  await until('the fetch', () => hold);
  id.publish([a, b]);
  const second = statusOf(interceptor, await token(b));
  hold!();
  assert.deepEqual(await Promise.all([first, second]), [200, 200]);
  assert.equal(id.asked, 2);
});

test("strangers who name keys that are nobody's make it ask some times, and then now and then; users stay", async (t) => {
  const clock = holdClock(t);
  const a = pair('a');
  const id = await issuer(t, [a]);
  const interceptor = jwt({ jwks: id.url });
  const attack = async (): Promise<number[]> => {
    const statuses: number[] = [];
    for (let n = 0; n < 50; n++) statuses.push(await statusOf(interceptor, await token(a, `stranger-${n}`)));
    return statuses;
  };
  const statuses = await attack();
  assert.deepEqual(new Set(statuses), new Set([401, 503]));
  assert.ok(id.asked <= 5, `${id.asked} times`);
  assert.equal(await statusOf(interceptor, await token(a)), 200);
  clock.pass(10_000);
  const before = id.asked;
  await attack();
  assert.equal(id.asked, before + 1);
  clock.pass(3_600_000);
  await attack();
  assert.ok(id.asked <= before + 1 + 5);
});

test('while the address is away, old keys serve for a while; then pages are told to come back', async (t) => {
  const clock = holdClock(t);
  const [a, b] = [pair('a'), pair('b')];
  const id = await issuer(t, [a]);
  const interceptor = jwt({ jwks: id.url, maxAge: 60_000, keep: 3_600_000, timeout: 200 });
  assert.equal(await statusOf(interceptor, await token(a)), 200);
  const aways: Answer[] = [
    (_request, response) => response.destroy(),
    (_request, response) => void response.writeHead(500).end('no'),
    (_request, response) => void response.writeHead(302, { Location: '/elsewhere' }).end(),
    () => {},
    (_request, response) => void response.write('{"keys":'),
    (_request, response) => void response.end('<html>'),
    (_request, response) => void response.end('{}'),
    (_request, response) => void response.end('{"keys":[]}'),
    (_request, response) =>
      void response.end(JSON.stringify({ keys: [{ kty: 'oct', k: 'AAAA', kid: 'a' }] })),
    (_request, response) => void response.end(JSON.stringify({ keys: [a.jwk], x: 'y'.repeat(300_000) })),
  ];
  for (const away of aways) {
    id.publish(away);
    clock.pass(120_000);
    const asked = id.asked;
    assert.equal(await statusOf(interceptor, await token(a)), 200);
    // Who names a key that is not known can't be judged.
    assert.equal(await statusOf(interceptor, await token(b)), 503);
    assert.ok(id.asked > asked);
  }
  clock.pass(3_600_000);
  assert.equal(await statusOf(interceptor, await token(a)), 503);
  id.publish([a, b]);
  clock.pass(120_000);
  assert.equal(await statusOf(interceptor, await token(b)), 200);
});

test('where it was never there, pages are told to come back, programs by 503; then they are let in', async (t) => {
  const clock = holdClock(t);
  const a = pair('a');
  const id = await issuer(t, (_request, response) => response.destroy());
  const { url, log } = await startPush({ interceptors: [jwt({ jwks: `${id.url}?key=secret-part` })] });
  const text = await token(a);
  assert.equal(await new Page(`${url}?ticket=${text}`, '').ended(), 503);
  const page = new Page(`${url}?ticket=${text}`, '', ['tidings.1']);
  assert.ok([4424, 503].includes((await page.ended()) ?? 0));
  assert.match(log.join(), /no keys for tokens from http:\/\/127/);
  assert.ok(!log.join().includes('secret-part') && !log.join().includes(text));
  id.publish([a]);
  clock.pass(60_000);
  const inside = await Page.open(`${url}?ticket=${text}`, '');
  // A renewal that can't be judged changes nothing.
  id.publish((_request, response) => response.destroy());
  inside.say({ type: 'renew', ticket: await token(pair('b')) });
  assert.equal((await inside.frame('error')).code, 'unavailable');
  inside.say({ type: 'renew', ticket: text });
  await inside.frame('renewed');
});

test('tokens without a name are tried with each key of their kind; what a key is for is obeyed', async (t) => {
  const [a, b] = [pair(undefined), pair(undefined)];
  const [encrypting, foreign] = [pair('e', { use: 'enc' }), pair('f', { alg: 'ES384' })];
  const stranger = pair(undefined);
  const id = await issuer(t, [a, b, encrypting, foreign]);
  const interceptor = jwt({ jwks: id.url });
  assert.equal(await statusOf(interceptor, await token(a)), 200);
  assert.equal(await statusOf(interceptor, await token(b)), 200);
  for (const each of [encrypting, foreign, stranger])
    assert.equal(await statusOf(interceptor, await token(each)), 401);
});

test('of a set only public keys of known kinds are taken', () => {
  const { jwk } = pair('a');
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const secret = { kty: 'oct', k: 'AAAA' };
  const set = [null, 1, 'x', [], {}, secret, privateKey.export({ format: 'jwk' }), jwk];
  assert.deepEqual(keysOf(JSON.stringify({ keys: set })), [jwk]);
  for (const text of [
    '',
    'null',
    '[]',
    '{"keys":{}}',
    '{"keys":[]}',
    JSON.stringify({ keys: Array.from({ length: 101 }, () => jwk) }),
  ]) {
    assert.throws(() => keysOf(text));
  }
});

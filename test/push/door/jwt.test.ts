/** JSON Web Tokens: which let a page in, and the published ways to be let in with none. */
import assert from 'node:assert/strict';
import {
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { exportJWK, type JWTPayload, SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { type JwtOptions, jwt, queryUser, signedTicket, signTicket } from '../../../src/index.ts';
import { loadJose } from '../../../src/push/door/jose.ts';
import { until } from '../../support/net.ts';
import { Page, startPush } from '../support.ts';

const secret = 'a secret of no less than sixty-four bytes, as HS512 wants it to be: ok';
const keys = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed: generateKeyPairSync('ed25519'),
};
const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
const seconds = (): number => Math.floor(Date.now() / 1000);

function signed(
  key: KeyObject | Uint8Array,
  alg: string,
  claims: JWTPayload = {},
  head: object = {},
): Promise<string> {
  return new SignJWT({ sub: 'alice', exp: seconds() + 600, ...claims })
    .setProtectedHeader({ alg, ...head })
    .sign(key);
}
const bySecret = (claims: JWTPayload = {}, head: object = {}, alg = 'HS256'): Promise<string> =>
  signed(Buffer.from(secret), alg, claims, head);

const encoded = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
/** With whatever header and claims, signed as HS256 by our secret. */
function forged(head: unknown, claims: unknown, key = secret, hash = 'sha256'): string {
  const text = `${encoded(head)}.${encoded(claims)}`;
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}
const good = { sub: 'alice', exp: seconds() + 600 };

/** What an interceptor makes of a token: the attributes, or the status and the text of its refusal. */
async function judged(options: JwtOptions, token: string): Promise<Record<string, unknown> | string> {
  const attributes = {};
  const request = { headers: { authorization: `Bearer ${token}` }, url: '/', socket: {} };
  const answer = await jwt(options).before!(request, attributes);
  if (!(answer instanceof Response)) return attributes;
  assert.deepEqual(attributes, {});
  return `${answer.status} ${(await answer.text()).trim()}`;
}
async function refused(options: JwtOptions, token: string, status = 401): Promise<string> {
  // As a ticket, where whatever it is is looked at.
  const attributes = {};
  const answer = await jwt(options).before!(
    { headers: {}, url: `/?ticket=${encodeURIComponent(token)}`, socket: {} },
    attributes,
  );
  assert.ok(answer instanceof Response, `let in: ${JSON.stringify(attributes)}`);
  assert.equal(answer.status, status);
  assert.deepEqual(attributes, {});
  const text = (await answer.text()).trim();
  for (const part of token.split('.'))
    if (part.length > 10) assert.ok(!text.includes(part), 'the token is not told');
  return text;
}

describe('which are valid', () => {
  for (const [alg, given, key] of [
    ['HS256', { secret }, Buffer.from(secret)],
    ['HS384', { secret }, Buffer.from(secret)],
    ['HS512', { secret: Buffer.from(secret) }, Buffer.from(secret)],
    ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map((name) => [
      name,
      { publicKey: keys.rsa.publicKey },
      keys.rsa.privateKey,
    ]),
    ['ES256', { publicKey: keys.p256.publicKey }, keys.p256.privateKey],
    ['ES384', { publicKey: keys.p384.publicKey }, keys.p384.privateKey],
    ['ES512', { publicKey: keys.p521.publicKey }, keys.p521.privateKey],
    ['EdDSA', { publicKey: keys.ed.publicKey }, keys.ed.privateKey],
    ['Ed25519', { publicKey: keys.ed.publicKey }, keys.ed.privateKey],
  ] as [string, JwtOptions, KeyObject][]) {
    test(`${alg}: it says who it is, by which login, and until when`, async () => {
      const exp = seconds() + 600;
      const claims = { sub: 'alice', exp, sid: 's-1', jti: 'j-1' };
      const token = await signed(key, alg, claims);
      assert.deepEqual(await judged(given, token), {
        user: 'alice',
        login: 's-1',
        expires: exp * 1000,
        claims,
      });
    });
  }

  test('keys as PEM, as KeyObject, as JWK; several of them, one of which has signed', async () => {
    const token = await signed(keys.p256.privateKey, 'ES256');
    const { publicKey } = keys.p256;
    for (const given of [
      publicKey,
      publicKey.export({ type: 'spki', format: 'pem' }) as string,
      publicKey.export({ format: 'jwk' }),
      [keys.rsa.publicKey, generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey, publicKey],
    ]) {
      assert.equal(typeof (await judged({ publicKey: given as never }, token)), 'object');
    }
    const rotated = { secret: ['another secret of at least 32 bytes', secret] };
    assert.equal(typeof (await judged(rotated, await bySecret())), 'object');
    // The longer one alone may sign as HS512.
    assert.equal(typeof (await judged(rotated, await bySecret({}, {}, 'HS512'))), 'object');
  });

  test('which claims are which is said by options', async () => {
    const token = await bySecret({
      email: 'bob@x',
      tenant: 'T',
      jti: 'j',
      scope: 'news  sport',
      groups: ['a', 'b'],
    });
    const at = async (options: object) =>
      (await judged({ secret, ...options }, token)) as Record<string, unknown>;
    assert.equal((await at({ user: 'email' }))['user'], 'bob@x');
    assert.equal((await at({}))['login'], 'j');
    assert.equal((await at({ login: 'tenant' }))['login'], 'T');
    assert.equal((await at({ login: ['none', 'tenant'] }))['login'], 'T');
    assert.equal((await at({ login: [] }))['login'], undefined);
    assert.deepEqual((await at({ topics: 'scope' }))['topics'], ['news', 'sport']);
    assert.deepEqual((await at({ topics: 'groups' }))['topics'], ['a', 'b']);
    assert.equal((await at({ topics: 'none' }))['topics'], undefined);
    for (const user of ['none', 'groups', 'constructor', '__proto__', 'toString']) {
      assert.match(await refused({ secret, user }, token), /names no user/);
    }
  });

  test('issuer, audience, type and time are checked; clocks may differ by the leeway', async () => {
    const options = { secret, issuer: ['https://id', 'https://id2'], audience: 'push', leeway: 30_000 };
    const fit = { iss: 'https://id2', aud: ['mail', 'push'] };
    assert.equal(
      typeof (await judged(options, await bySecret({ ...fit, exp: seconds() - 20, nbf: seconds() + 20 }))),
      'object',
    );
    assert.match(await refused(options, await bySecret({ ...fit, exp: seconds() - 40 })), /expired/);
    assert.match(await refused(options, await bySecret({ ...fit, nbf: seconds() + 40 })), /nbf/);
    assert.match(await refused(options, await bySecret({ ...fit, iss: 'https://id3' })), /iss/);
    assert.match(await refused(options, await bySecret({ ...fit, aud: 'mail' })), /aud/);
    assert.match(await refused(options, await bySecret()), /iss|aud/);
    assert.match(await refused({ secret, type: 'at+jwt' }, await bySecret({}, { typ: 'JWT' })), /typ/);
    assert.equal(
      typeof (await judged({ secret, type: 'at+jwt' }, await bySecret({}, { typ: 'at+jwt' }))),
      'object',
    );
    assert.match(await refused({ secret, leeway: 0 }, await bySecret({ exp: seconds() - 1 })), /expired/);
  });
});

describe('which are refused', () => {
  const rsa = { publicKey: keys.rsa.publicKey };
  const pem = keys.rsa.publicKey.export({ type: 'spki', format: 'pem' }) as string;

  test('none, however it is written', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, 0, ['HS256'], { a: 1 }, undefined]) {
      for (const options of [{ secret }, rsa]) {
        await refused(options, `${encoded({ alg })}.${encoded(good)}.`);
        await refused(options, forged({ alg }, good));
      }
    }
    assert.throws(() => jwt({ secret, algorithms: ['none'] }), /algorithms/);
  });

  test('key confusion: HS by the bytes of a public key, in every form of it', async () => {
    const forms = [
      pem,
      pem.trim(),
      pem.replaceAll('\n', ''),
      keys.rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }) as string,
      keys.rsa.publicKey.export({ type: 'spki', format: 'der' }).toString('latin1'),
      JSON.stringify(keys.rsa.publicKey.export({ format: 'jwk' })),
    ];
    for (const form of forms) {
      for (const [alg, hash] of [
        ['HS256', 'sha256'],
        ['HS384', 'sha384'],
        ['HS512', 'sha512'],
      ] as const) {
        await refused(rsa, forged({ alg }, good, form, hash));
        await refused({ publicKey: pem }, forged({ alg }, good, form, hash));
      }
    }
    assert.throws(() => jwt({ secret: pem }), /publicKey/);
    assert.throws(() => jwt({ publicKey: pem, algorithms: ['RS256', 'HS256'] }), /algorithms/);
    assert.throws(() => jwt({ secret, publicKey: pem }), /one of/);
  });

  test('the right algorithm by another key, the right key by another algorithm, another curve', async () => {
    assert.match(await refused(rsa, await signed(other.privateKey, 'RS256')), /not signed by/);
    assert.match(
      await refused({ ...rsa, algorithms: ['RS256'] }, await signed(keys.rsa.privateKey, 'PS256')),
      /not allowed/,
    );
    for (const [alg, pair] of [
      ['ES384', keys.p384],
      ['ES512', keys.p521],
      ['EdDSA', keys.ed],
    ] as const) {
      assert.match(
        await refused({ publicKey: keys.p256.publicKey }, await signed(pair.privateKey, alg)),
        /not allowed/,
      );
    }
    // Says ES256, and is signed by a key of another curve.
    const text = `${encoded({ alg: 'ES256' })}.${encoded(good)}`;
    for (const key of [keys.p384.privateKey, keys.p521.privateKey]) {
      const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString(
        'base64url',
      );
      await refused({ publicKey: keys.p256.publicKey }, `${text}.${signature}`);
      await refused({ publicKey: [keys.p256.publicKey, keys.p384.publicKey] }, `${text}.${signature}`);
    }
    // All zeros were a signature of everything to some (CVE-2022-21449).
    await refused({ publicKey: keys.p256.publicKey }, `${text}.${Buffer.alloc(64).toString('base64url')}`);
    await refused({ publicKey: keys.p256.publicKey }, `${text}.`);
  });

  test('a key or an address that the token brings along itself', async () => {
    const jwk = await exportJWK(other.publicKey);
    for (const head of [
      { jwk },
      { jku: 'http://127.0.0.1:1/jwks.json' },
      { x5u: 'http://127.0.0.1:1/cert.pem' },
      { x5c: ['MIIB'] },
      { kid: 'x', jwk },
    ]) {
      await refused(rsa, await signed(other.privateKey, 'RS256', {}, head));
    }
  });

  test('a kid that means something to a file system, a database or a prototype', async () => {
    for (const kid of [
      '../../../../dev/null',
      "x' UNION SELECT 'key';--",
      '__proto__',
      'constructor',
      '',
      '\u0000',
      '/etc/passwd|id',
    ]) {
      await refused({ secret }, forged({ alg: 'HS256', kid }, good, ''));
      await refused({ secret }, forged({ alg: 'HS256', kid }, good, 'undefined'));
      // Of a single key the name does not matter.
      assert.equal(typeof (await judged({ secret }, forged({ alg: 'HS256', kid }, good))), 'object');
    }
    for (const kid of [1, null, ['a'], { a: 1 }, true, 'x'.repeat(257)]) {
      assert.match(await refused({ secret }, forged({ alg: 'HS256', kid }, good)), /kid/);
    }
  });

  test('what must be understood and is not: crit; a payload that is not encoded', async () => {
    for (const crit of [['exp'], ['x'], [], 'exp', ['b64'], null]) {
      await refused({ secret }, forged({ alg: 'HS256', crit, x: 1, exp: 1, b64: true }, good));
    }
    await refused({ secret }, forged({ alg: 'HS256', b64: false, crit: ['b64'] }, good));
  });

  test('without an end, over, not yet, and times that are none', async () => {
    const at = (claims: object): string => forged({ alg: 'HS256' }, { sub: 'alice', ...claims });
    assert.match(await refused({ secret }, at({})), /exp/);
    assert.match(await refused({ secret }, at({ exp: seconds() - 10 })), /expired/);
    assert.match(await refused({ secret }, at({ ...good, nbf: seconds() + 10 })), /nbf/);
    for (const exp of ['2050-01-01', null, true, [seconds() + 600], {}, String(seconds() + 600), -1, 0]) {
      await refused({ secret }, at({ exp }));
    }
    await refused({ secret }, forged({ alg: 'HS256' }, '{"sub":"alice","exp":-1e999}'));
    for (const exp of ['1e308', '1e999', '9007199254740993', '1e20']) {
      const answer = await judged({ secret }, forged({ alg: 'HS256' }, `{"sub":"alice","exp":${exp}}`));
      assert.ok(typeof answer === 'string' || Number.isFinite(answer['expires']), exp);
    }
  });

  test('names twice, in the header, in the claims and deeper', async () => {
    const head = '{"alg":"HS256"}';
    for (const [header, claims] of [
      ['{"alg":"none","alg":"HS256"}', good],
      ['{"alg":"HS256","kid":"a","kid":"b"}', good],
      [head, `{"sub":"bob","sub":"alice","exp":${good.exp}}`],
      [head, `{"sub":"alice","exp":1,"exp":${good.exp}}`],
      [head, `{"s\\u0075b":"bob","sub":"alice","exp":${good.exp}}`],
      [head, `{"sub":"alice","exp":${good.exp},"a":[{"b":1,"b" :2}]}`],
      [head, `{"sub":"alice","exp":${good.exp},"__proto__":1,"__proto__":2}`],
    ] as const) {
      assert.match(await refused({ secret }, forged(header, claims)), /twice/);
    }
    // What only looks like it.
    for (const claims of [
      `{"sub":"alice","exp":${good.exp},"a":"\\"sub\\":","b":["sub","sub"],"c":{"sub":"\\\\"}}`,
    ]) {
      assert.equal(typeof (await judged({ secret }, forged(head, claims))), 'object');
    }
  });

  test('what is no token, or one that can be read in two ways', async () => {
    const token = await bySecret();
    const [head, claims, signature] = token.split('.') as [string, string, string];
    for (const text of [
      'x',
      '..',
      'eyJ..',
      `${head}.${claims}`,
      `${token}.`,
      `${token}.x`,
      ` ${token}`,
      `${token}=`,
      `${head}=.${claims}.${signature}`,
      `${head}.${claims}.${signature}AAAA`,
      `${head}.${claims}.${signature.slice(0, -1)}${signature.endsWith('A') ? 'B' : 'A'}`,
      token.toUpperCase(),
      `${head}.${claims.replace(/.$/, '+')}.${signature}`,
      `${encoded('[1]')}.${claims}.${signature}`,
      `${encoded('null')}.${claims}.${signature}`,
      `${encoded('{"alg":"HS256"')}.${claims}.${signature}`,
      forged({ alg: 'HS256' }, '[]'),
      forged({ alg: 'HS256' }, 'null'),
      forged({ alg: 'HS256' }, '"alice"'),
      forged({ alg: 'HS256' }, Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1')),
      // Of five parts it is encrypted.
      `${head}.${claims}.${signature}.${signature}.${signature}`,
    ]) {
      await refused({ secret }, text);
    }
    for (let i = 0; i < token.length; i += 7) {
      const changed = token[i] === 'A' ? 'B' : 'A';
      await refused({ secret }, `${token.slice(0, i)}${changed}${token.slice(i + 1)}`);
    }
  });

  test('tokens that are huge, or nest without end', async () => {
    await refused({ secret }, forged({ alg: 'HS256', x: 'y'.repeat(100_000) }, good));
    await refused({ secret }, forged({ alg: 'HS256' }, { ...good, x: 'y'.repeat(100_000) }));
    await refused({ secret }, `${forged({ alg: 'HS256' }, good)}${'A'.repeat(100_000)}`);
    await refused({ secret }, forged({ alg: 'HS256' }, `{"a":${'['.repeat(200_000)}`));
    const deep = `{"sub":"alice","exp":${good.exp},"a":${'['.repeat(2_500)}${']'.repeat(2_500)}}`;
    assert.equal(typeof (await judged({ secret }, forged({ alg: 'HS256' }, deep))), 'object');
  });

  test('options that make no sense', () => {
    const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey;
    for (const options of [
      {},
      { secret: [] },
      { secret: 'short' },
      { secret: 17 },
      { secret: 'x'.repeat(32), algorithms: ['HS512'] },
      { secret, algorithms: [] },
      { secret, algorithms: ['RS256'] },
      { secret, leeway: -1 },
      { secret, leeway: Number.NaN },
      { secret, issuer: '' },
      { secret, issuer: [] },
      { secret, audience: [7] },
      { secret, user: '' },
      { publicKey: 'x' },
      { publicKey: weak },
      { publicKey: keys.rsa.privateKey },
      { publicKey: keys.rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      { publicKey: keys.rsa.privateKey.export({ format: 'jwk' }) },
      { publicKey: createSecretKey(randomBytes(32)) },
      { publicKey: generateKeyPairSync('x25519').publicKey },
      { publicKey: generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey },
      { jwks: 'ftp://x/y' },
      { jwks: '/keys' },
      { jwks: 'https://user:password@x/keys' },
      { jwks: 'https://x/', algorithms: ['HS256'] },
    ]) {
      assert.throws(() => jwt(options as JwtOptions), TypeError, JSON.stringify(options));
    }
    assert.ok(createPublicKey(pem));
  });
});

describe('at a server', () => {
  async function told(
    url: string,
    protocols: string[],
    headers: Record<string, string> = {},
  ): Promise<unknown> {
    const socket = new WebSocket(url, protocols, { headers });
    socket.on('error', () => {});
    return Promise.race([
      once(socket, 'unexpected-response').then(([request, response]) => {
        request.destroy();
        return response.statusCode;
      }),
      once(socket, 'close').then(([code, reason]) => `${code} ${reason}`),
    ]);
  }

  test('it is taken from the places of a ticket and from Authorization, and ends the session with it', async () => {
    const { push, url } = await startPush({
      interceptors: [jwt({ secret, leeway: 0 })],
      expiry: { leeway: 0 },
    });
    const exp = seconds() + 600;
    const token = await bySecret({ exp });
    const open = async (
      query: string,
      protocols: string[],
      headers: Record<string, string>,
    ): Promise<Page> => {
      const page = new Page(`${url}${query}`, '', protocols, headers);
      await until('an open page', () => page.socket.readyState === WebSocket.OPEN);
      return page;
    };
    await open('', ['tidings.1', `ticket.${token}`], {});
    await open(`?ticket=${token}`, ['tidings.1'], {});
    await open('', [], { Cookie: `tidings_ticket=${token}` });
    await open('', [], { Authorization: `Bearer ${token}` });
    assert.deepEqual(
      [...push.localSessions()].map(({ user, expires }) => [user, expires]),
      Array.from({ length: 4 }, () => ['alice', exp * 1000]),
    );
    const brief = await open('', ['tidings.1', `ticket.${await bySecret({ exp: seconds() + 2 })}`], {});
    assert.equal(await brief.ended(), 4501);
  });

  test('programs are refused by 401, pages by 4501; a renewal goes on, and with another user ends', async () => {
    const { url } = await startPush({ interceptors: [jwt({ secret })] });
    const expired = await bySecret({ exp: seconds() - 100 });
    assert.equal(await told(url, [`ticket.${expired}`]), 401);
    assert.equal(await told(url, [], { Authorization: `Bearer ${expired}` }), 401);
    assert.equal(await told(url, ['tidings.1', `ticket.${expired}`]), '4501 the token has expired');
    assert.equal(await told(url, ['tidings.1', 'ticket.nonsense']), '4501 not a JSON Web Token');
    assert.equal(await told(url, ['tidings.1']), '4501 no authenticated user');
    const page = await Page.open(`${url}?ticket=${await bySecret()}`, '');
    page.say({ type: 'renew', ticket: expired });
    assert.equal((await page.frame('error')).code, 'not-authenticated');
    const exp = seconds() + 1200;
    page.say({ type: 'renew', ticket: await bySecret({ exp }) });
    assert.equal((await page.frame('renewed')).expires, exp * 1000);
    page.say({ type: 'renew', ticket: await bySecret({ sub: 'bob' }) });
    assert.equal((await page.frame('error', 1)).code, 'forbidden');
    assert.equal(await page.ended(), 4503);
  });

  test('beside tickets and others each takes its own, in either order', async () => {
    const tickets = signedTicket({ secret });
    for (const interceptors of [
      [jwt({ secret }), tickets, queryUser('user')],
      [queryUser('user'), tickets, jwt({ secret })],
    ]) {
      const { push, url } = await startPush({ interceptors });
      const pages = [
        await Page.open(`${url}?ticket=${await bySecret({ sub: 'j', sid: 'S' })}`, ''),
        await Page.open(`${url}?ticket=${signTicket('t', { secret })}`, ''),
        await Page.open(url, 'q'),
      ];
      assert.deepEqual(
        [...push.localSessions()].map(({ user, login }) => [user, login]),
        [
          ['j', 'S'],
          ['t', undefined],
          ['q', undefined],
        ],
      );
      const [page, ticket] = pages as [Page, Page];
      page.say({ type: 'renew', ticket: await bySecret({ sub: 'j' }) });
      ticket.say({ type: 'renew', ticket: signTicket('t', { secret }) });
      await Promise.all([page.frame('renewed'), ticket.frame('renewed')]);
    }
    // What a proxy puts into Authorization for somebody else is left to others.
    const { url } = await startPush({ interceptors: [jwt({ secret }), queryUser('user')] });
    const page = new Page(url, 'q', [], { Authorization: 'Bearer opaque' });
    await until('an open page', () => page.socket.readyState === WebSocket.OPEN);
  });

  test('who has not installed jose is told what to do', async () => {
    await assert.rejects(loadJose('jose-that-is-not-there'), /npm install jose/);
    await assert.rejects(loadJose('ws'), /npm install jose/);
  });

  test('ready rejects where an interceptor can not get ready, and says why in the log', async () => {
    const { push, log } = await startPush(
      { interceptors: [{ ready: Promise.reject(new Error('no jose')) }] },
      { isReady: false },
    );
    await assert.rejects(push.ready, /no jose/);
    assert.match(log.join(), /could not start: Error: no jose/);
  });
});

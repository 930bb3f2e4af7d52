/** Tickets and JSON Web Tokens: bytes that nobody has signed, and whatever may have been signed by who has the secret. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import type { Random } from '../../src/prove/random.ts';
import { jwt, TicketError, verifyTicket } from '../../src/push/index.ts';
import { claimsOf } from '../../src/push/pages/claims.ts';
import { loginProblem, topicProblem, userProblem } from '../../src/push/talk/names.ts';
import { corpus, type Target } from './target.ts';

const secret = 'a secret of no less than sixty-four bytes, as HS512 wants it to be: ok';
/** 2100. */
const LATER = 4_102_444_800;

function signed(text: string, hash = 'sha256'): string {
  return `${text}.${createHmac(hash, secret).update(text).digest('base64url')}`;
}

function isSigned(text: string): boolean {
  const end = text.lastIndexOf('.');
  return ['sha256', 'sha384', 'sha512'].some((hash) => signed(text.slice(0, end), hash) === text);
}

const NAMES = [
  'sub',
  'exp',
  'nbf',
  'iat',
  'sid',
  'jti',
  'iss',
  'aud',
  'scope',
  '__proto__',
  'constructor',
  's\\u0075b',
  '',
];
const VALUES = [
  ...['null', 'true', '0', '-1', '1e999', '1e308', String(LATER), `${LATER}.5`, `"${LATER}"`],
  ...['"alice"', '"bob"', '""', '"user:bob"', '"a b  c"', '"\\u0000"', '"\\ud800"', `"${'x'.repeat(300)}"`],
  ...['[]', '{}', '["a","b"]', '[null]', '{"a":1,"a":2}', '[[[{"":[]}]]]', '"\\"sub\\":"'],
];
const HEADS = ['alg', 'alg', 'alg', 'kid', 'crit', 'b64', 'typ', 'jwk', 'jku', 'x5c'];
const ALGORITHMS = ['"HS256"', '"HS256"', '"HS384"', '"HS512"', '"none"', '"RS256"', '"hs256"', 'null'];

/** A JSON object as text, so that a name can be there twice. */
function object(random: Random, pairs: string[]): string {
  const all = pairs.filter(() => !random.chance(8));
  while (!random.chance(3)) all.push(`${JSON.stringify(random.pick(NAMES))}:${random.pick(VALUES)}`);
  return `{${all.join(random.chance(4) ? ' , ' : ',')}}`;
}

export const tickets: Target = {
  name: 'tickets',
  corpus: corpus('tickets'),
  generate: (random) =>
    Buffer.from(
      object(random, [
        `"u":${random.chance(3) ? random.pick(VALUES) : '"alice"'}`,
        `"x":${random.chance(3) ? random.pick(VALUES) : LATER * 1000}`,
        ...['l', 't', 'c'].filter(() => random.chance(4)).map((name) => `"${name}":${random.pick(VALUES)}`),
      ]),
    ),
  run(input, random) {
    const text = input.toString('latin1');
    const ticket = random.chance(2) ? text : signed(`t1.${input.toString('base64url')}`);
    try {
      const { user, expires, login, topics, claims } = verifyTicket(ticket, { secret });
      assert.ok(isSigned(ticket), 'let in without a signature');
      assert.equal(userProblem(user), undefined);
      assert.ok(expires > Date.now() && Number.isFinite(expires));
      if (login !== undefined) assert.equal(loginProblem(login), undefined);
      for (const topic of topics ?? []) assert.equal(topicProblem(topic), undefined);
      assert.ok(claims === undefined || (typeof claims === 'object' && !Array.isArray(claims)));
    } catch (error) {
      if (!(error instanceof TicketError)) throw error;
    }
  },
};

const interceptor = jwt({ secret, topics: 'scope' });

export const tokens: Target = {
  name: 'tokens',
  corpus: corpus('tokens'),
  /** The header and the claims, each on a line. */
  generate: (random) => {
    const head = object(random, [
      `"alg":${random.pick(ALGORITHMS)}`,
      ...(random.chance(3) ? [`"${random.pick(HEADS)}":${random.pick([...VALUES, ...ALGORITHMS])}`] : []),
    ]);
    return Buffer.from(
      `${head}\n${object(random, ['"sub":"alice"', `"exp":${random.chance(4) ? random.pick(VALUES) : LATER}`])}`,
    );
  },
  async run(input, random) {
    const [head = '', ...rest] = input.toString('latin1').split('\n');
    const [first, second] = [head, rest.join('\n')].map((part) =>
      Buffer.from(part, 'latin1').toString('base64url'),
    );
    const token = random.chance(3)
      ? input.toString('latin1')
      : signed(`${first}.${second}`, random.pick(['sha256', 'sha256', 'sha384', 'sha512']));
    const attributes: Record<string, unknown> = {};
    const isBearer = random.chance(2);
    const request = {
      url: isBearer ? '/' : `/?ticket=${encodeURIComponent(token)}`,
      headers: isBearer ? { authorization: `Bearer ${token}` } : {},
      socket: {},
    };
    const answer = await interceptor.before!(request, attributes);
    if (answer instanceof Response) {
      assert.ok(answer.status === 401 || answer.status === 400, String(answer.status));
      assert.deepEqual(attributes, {});
      return;
    }
    // What is no token is left to others.
    if (attributes['user'] === undefined) return;
    // A header has spaces around what it says.
    assert.ok(isSigned(isBearer ? token.trim() : token), 'let in without a signature');
    assert.equal(typeof attributes['user'], 'string');
    assert.ok((attributes['expires'] as number) > Date.now() - 10_000);
    assert.equal(Object.getPrototypeOf(attributes), Object.prototype);
    try {
      claimsOf(attributes, 100);
    } catch (error) {
      // Signed nonsense: the gate tells who has signed it.
      assert.ok(error instanceof TypeError);
    }
  },
};

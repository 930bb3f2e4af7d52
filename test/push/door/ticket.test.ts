import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import test from 'node:test';
import {
  signTicket,
  TicketError,
  type TicketErrorCode,
  verifyTicket,
} from '../../../src/push/door/ticket.ts';

const secret = 'a secret of enough bytes';

function refuses(ticket: string, code: TicketErrorCode, secrets: string | string[] = secret): void {
  assert.throws(
    () => verifyTicket(ticket, { secret: secrets }),
    (error) => error instanceof TicketError && error.code === code,
  );
}

test('a ticket says who the user is and until when', () => {
  const before = Date.now();
  const ticket = verifyTicket(signTicket('爱丽丝', { secret, lifetime: 60_000 }), { secret });
  assert.equal(ticket.user, '爱丽丝');
  assert.ok(ticket.expires >= before + 60_000 && ticket.expires <= Date.now() + 60_000);
});

test('a ticket fits into a URL, a cookie and a subprotocol as it is', () => {
  for (const user of ['alice', 'Zoë ; , "', '\u{1f600}'.repeat(64)]) {
    assert.match(signTicket(user, { secret }), /^[A-Za-z0-9._-]+$/);
  }
});

test('an expired ticket is refused as that', () => {
  refuses(signTicket('alice', { secret, lifetime: -1 }), 'TICKET_EXPIRED');
});

test('a ticket with any character changed is refused', () => {
  const ticket = signTicket('alice', { secret });
  for (let i = 0; i < ticket.length; i++) {
    // The neighbour of the last character differs in bits that stand for nothing.
    const other =
      'BADCFEHGJILKNMPORQTSVUXWZYbadcfehgjilknmporqtsvuxwzy1032547698_-'[
        'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(ticket[i]!)
      ] ?? 'A';
    const forged = ticket.slice(0, i) + other + ticket.slice(i + 1);
    assert.throws(() => verifyTicket(forged, { secret }), TicketError, `character ${i}`);
  }
});

test('a ticket of another secret, without a signature, or of another form is refused', () => {
  const ticket = signTicket('alice', { secret });
  refuses(signTicket('alice', { secret: 'another secret, long enough' }), 'TICKET_SIGNATURE');
  refuses(`${ticket.split('.').slice(0, 2).join('.')}.`, 'TICKET_SIGNATURE');
  refuses(ticket.replace('t1.', 't2.'), 'TICKET_MALFORMED');
  refuses('', 'TICKET_MALFORMED');
  refuses('t1.a.b.c', 'TICKET_MALFORMED');
  refuses(`t1.${'A'.repeat(100_000)}.AAAA`, 'TICKET_MALFORMED');
});

test('secrets rotate: the first signs, all verify', () => {
  const old = signTicket('alice', { secret });
  const rotated = ['the new secret, long enough', secret];
  assert.equal(verifyTicket(old, { secret: rotated }).user, 'alice');
  const fresh = signTicket('alice', { secret: rotated });
  refuses(fresh, 'TICKET_SIGNATURE', secret);
  assert.equal(verifyTicket(fresh, { secret: rotated }).user, 'alice');
});

test('a secret that is too short and a user name that is unfit are the caller’s errors', () => {
  assert.throws(() => signTicket('alice', { secret: 'short' }), /at least 16 bytes/);
  assert.throws(() => signTicket('alice', { secret: [] }), /at least 16 bytes/);
  // An environment variable that is not there.
  assert.throws(() => signTicket('alice', { secret: undefined as never }), /at least 16 bytes/);
  assert.throws(() => signTicket('a\nb', { secret }), /control characters/);
});

/** As anybody with the secret can sign anything, in any language. */
function signed(payload: string | Buffer): string {
  const head = `t1.${Buffer.from(payload).toString('base64url')}`;
  return `${head}.${createHmac('sha256', secret).update(head).digest('base64url')}`;
}

test('a ticket of ours by hand is as good as one of signTicket', () => {
  const expires = Date.now() + 60_000;
  assert.deepEqual(verifyTicket(signed(JSON.stringify({ u: 'alice', x: expires })), { secret }), {
    user: 'alice',
    expires,
  });
});

test('a ticket whose end is no number is refused, not valid for ever', () => {
  for (const x of ['1e999', '"2999-01-01"', '"99999999999999"', 'null', '{}', '[99999999999999]', 'true']) {
    refuses(signed(`{"u":"alice","x":${x}}`), 'TICKET_MALFORMED');
  }
  refuses(signed('{"u":"alice"}'), 'TICKET_MALFORMED');
  refuses(signed('{"u":"alice","x":-1e300}'), 'TICKET_EXPIRED');
  assert.throws(() => signTicket('alice', { secret, lifetime: Number.NaN }), TypeError);
  assert.throws(() => signTicket('alice', { secret, lifetime: Number.POSITIVE_INFINITY }), TypeError);
});

test('signed text that is no JSON object with a fit user is refused as malformed', () => {
  const x = Date.now() + 60_000;
  for (const text of [
    '',
    'alice',
    '{',
    'null',
    '1',
    '[]',
    `{"x":${x}}`,
    `{"u":1,"x":${x}}`,
    `{"u":"","x":${x}}`,
  ]) {
    refuses(signed(text), 'TICKET_MALFORMED');
  }
  refuses(signed(`{"u":"\\ud800","x":${x}}`), 'TICKET_MALFORMED');
  const notUtf8 = Buffer.concat([
    Buffer.from('{"u":"a'),
    Buffer.from([0xd5, 0xc5]),
    Buffer.from(`","x":${x}}`),
  ]);
  refuses(signed(notUtf8), 'TICKET_MALFORMED');
});

test('a MAC with padding, white space or anything else beside it is not ours', () => {
  const ticket = signTicket('alice', { secret });
  for (const junk of ['=', '==', ' ', '\n', '!', 'A', '%', '\u0000']) {
    refuses(ticket + junk, 'TICKET_SIGNATURE');
    refuses(ticket.replace(/\.([^.]*)$/, `.${junk}$1`), 'TICKET_SIGNATURE');
  }
  const [version, payload, mac] = ticket.split('.') as [string, string, string];
  refuses(`${version}.${payload}.${Buffer.from(mac, 'base64url').toString('base64')}`, 'TICKET_SIGNATURE');
});

test('a ticket may say by which login, which topics, and whatever else the application wants to know', () => {
  const said = { login: 'J-81', topics: ['news', '新闻'], claims: { role: 'clerk', deep: { a: [1] } } };
  const { user, expires, ...rest } = verifyTicket(signTicket('alice', { secret, ...said }), { secret });
  assert.equal(user, 'alice');
  assert.ok(expires > Date.now());
  assert.deepEqual(rest, said);
  const x = Date.now() + 60_000;
  assert.deepEqual(verifyTicket(signed(`{"u":"alice","x":${x},"l":"J","t":[],"c":{},"z":1}`), { secret }), {
    user: 'alice',
    expires: x,
    login: 'J',
    topics: [],
    claims: {},
  });
});

test('a login, topics or claims that can not be: not signed, and refused where others have signed them', () => {
  for (const wrong of [
    { login: '' },
    { login: 7 },
    { login: 'a\nb' },
    { login: 'x'.repeat(257) },
    { topics: 'news' },
    { topics: [7] },
    { topics: ['user:bob'] },
    { topics: [''] },
    { claims: 'clerk' },
    { claims: ['clerk'] },
    { claims: 7 },
  ] as object[]) {
    assert.throws(() => signTicket('alice', { secret, ...wrong }), TypeError, JSON.stringify(wrong));
    const { login: l, topics: t, claims: c } = wrong as Record<string, unknown>;
    refuses(signed(JSON.stringify({ u: 'alice', x: Date.now() + 60_000, l, t, c })), 'TICKET_MALFORMED');
  }
  for (const name of ['l', 't', 'c']) {
    refuses(signed(`{"u":"alice","x":${Date.now() + 60_000},"${name}":null}`), 'TICKET_MALFORMED');
  }
  assert.throws(() => signTicket(undefined as never, { secret }), TypeError);
});

test('a ticket that would be longer than one may be is not signed; the longest name and login have room', () => {
  const long = { user: '密'.repeat(128), login: '钥'.repeat(256) };
  assert.deepEqual(
    verifyTicket(signTicket(long.user, { secret, login: long.login }), { secret }).login,
    long.login,
  );
  assert.throws(() => signTicket('alice', { secret, claims: { x: 'y'.repeat(2_000) } }), /2048/);
});

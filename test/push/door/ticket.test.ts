import assert from 'node:assert/strict';
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
    const other = ticket[i] === 'A' ? 'B' : 'A';
    const forged = ticket.slice(0, i) + other + ticket.slice(i + 1);
    // The last character of base64url has bits that stand for nothing.
    if (i === ticket.length - 1) continue;
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
  assert.throws(() => signTicket('a\nb', { secret }), /control characters/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acceptAnswer,
  acceptOffer,
  createOffer,
  type DeflateOptions,
  formatParameters,
  parseExtensions,
  validateDeflateOptions,
} from '../../src/protocol/index.ts';

/** What a server with these options answers; undefined where it declines. */
function answer(offer: string, options?: DeflateOptions): string | undefined {
  const accepted = acceptOffer(parseExtensions(offer), options);
  return accepted && formatParameters(accepted);
}
const NO_TAKEOVER = '; server_no_context_takeover; client_no_context_takeover';
const takeover = { serverNoContextTakeover: false, clientNoContextTakeover: false };

test('RFC 7692 §5.1: the first offer that can be accepted is', () => {
  assert.equal(answer('permessage-deflate'), `permessage-deflate${NO_TAKEOVER}`);
  assert.equal(answer('x, permessage-deflate; foo, permessage-deflate', takeover), 'permessage-deflate');
  assert.equal(
    answer(
      'permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10',
      takeover,
    ),
    'permessage-deflate; server_max_window_bits=10',
  );
});
test('other extensions are declined', () => {
  assert.equal(answer('x-webkit-deflate-frame, foo; bar=1'), undefined);
  assert.equal(answer('Permessage-Deflate'), undefined);
});

for (const parameters of [
  'unknown',
  'server_no_context_takeover; server_no_context_takeover',
  'client_no_context_takeover; client_no_context_takeover',
  'server_max_window_bits=10; server_max_window_bits=10',
  'client_max_window_bits; client_max_window_bits',
  'client_max_window_bits; client_max_window_bits=10',
  'server_no_context_takeover=1',
  'client_no_context_takeover=true',
  'server_max_window_bits',
  'server_max_window_bits=7',
  'server_max_window_bits=8',
  'server_max_window_bits=16',
  'server_max_window_bits=09',
  'server_max_window_bits=1e1',
  'server_max_window_bits=+10',
  'server_max_window_bits=10.0',
  'server_max_window_bits=0xa',
  'client_max_window_bits=7',
  'client_max_window_bits=16',
  'client_max_window_bits=08',
  'client_max_window_bits=a',
  // Prototype-named parameters: names like any other.
  '__proto__',
  '__proto__=1',
  'constructor',
  'toString; hasOwnProperty=1',
]) {
  test(`RFC 7692 §7.1: an offer with ${parameters} is declined`, () => {
    assert.equal(answer(`permessage-deflate; ${parameters}`), undefined);
    assert.equal(
      answer(`permessage-deflate; ${parameters}, permessage-deflate`, takeover),
      'permessage-deflate',
    );
  });
}

test('RFC 7692 §7.1.1: context takeover only where both sides want it', () => {
  const offer = 'permessage-deflate; server_no_context_takeover';
  assert.equal(answer(offer, takeover), offer);
  assert.equal(
    answer('permessage-deflate; client_no_context_takeover', takeover),
    'permessage-deflate; client_no_context_takeover',
  );
  assert.equal(
    answer('permessage-deflate', { serverNoContextTakeover: false }),
    'permessage-deflate; client_no_context_takeover',
  );
});
test('RFC 7692 §7.1.2: windows are the smaller of what both sides want', () => {
  const both = 'permessage-deflate; server_max_window_bits=12; client_max_window_bits=11';
  assert.equal(answer(both, takeover), both);
  assert.equal(
    answer(both, { ...takeover, serverMaxWindowBits: 10, clientMaxWindowBits: 15 }),
    'permessage-deflate; server_max_window_bits=10; client_max_window_bits=11',
  );
  assert.equal(
    answer('permessage-deflate; client_max_window_bits', { ...takeover, clientMaxWindowBits: 8 }),
    'permessage-deflate; client_max_window_bits=8',
  );
});
test('RFC 7692 §7.1.2.2: a client that did not name its window is not told one', () => {
  assert.equal(answer('permessage-deflate; client_max_window_bits', takeover), 'permessage-deflate');
  assert.equal(answer('permessage-deflate', { clientMaxWindowBits: 10 }), undefined);
  assert.equal(
    answer('permessage-deflate; client_max_window_bits=10', { ...takeover, clientMaxWindowBits: false }),
    'permessage-deflate',
  );
});
test('quoted values are values (RFC 6455 §9.1)', () => {
  const offer = 'permessage-deflate; server_max_window_bits="10"';
  assert.equal(answer(offer, takeover), 'permessage-deflate; server_max_window_bits=10');
});

test("a client's offer says what its options ask for", () => {
  assert.equal(createOffer(), 'permessage-deflate; client_max_window_bits');
  assert.equal(createOffer({ clientMaxWindowBits: false }), 'permessage-deflate');
  assert.equal(
    createOffer({
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 10,
      clientMaxWindowBits: 11,
    }),
    `permessage-deflate${NO_TAKEOVER}; server_max_window_bits=10; client_max_window_bits=11`,
  );
});
const agreed = (header: string, options?: DeflateOptions) => acceptAnswer(parseExtensions(header), options);
test('a client takes a fitting answer', () => {
  assert.equal(acceptAnswer([], {}), undefined);
  assert.deepEqual(agreed('permessage-deflate'), {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  });
  assert.deepEqual(
    agreed(`permessage-deflate${NO_TAKEOVER}; server_max_window_bits=8; client_max_window_bits=8`),
    {
      serverNoContextTakeover: true,
      clientNoContextTakeover: true,
      serverMaxWindowBits: 8,
      clientMaxWindowBits: 8,
    },
  );
  assert.equal(agreed('permessage-deflate', { clientMaxWindowBits: 10 })?.clientMaxWindowBits, 10);
  assert.equal(
    agreed('permessage-deflate', { clientNoContextTakeover: true })?.clientNoContextTakeover,
    true,
  );
});
const wrong: [string, DeflateOptions][] = [
  ['permessage-deflate; unknown', {}],
  ['permessage-deflate; __proto__=1', {}],
  ['permessage-deflate, permessage-deflate', {}],
  ['permessage-deflate; server_no_context_takeover; server_no_context_takeover', {}],
  ['permessage-deflate; client_max_window_bits', {}],
  ['permessage-deflate; server_max_window_bits=16', {}],
  ['permessage-deflate; client_max_window_bits=10', { clientMaxWindowBits: false }],
  ['permessage-deflate; client_max_window_bits=12', { clientMaxWindowBits: 11 }],
  ['permessage-deflate', { serverNoContextTakeover: true }],
  ['permessage-deflate', { serverMaxWindowBits: 10 }],
  ['permessage-deflate; server_max_window_bits=11', { serverMaxWindowBits: 10 }],
];
for (const [header, options] of wrong) {
  test(`RFC 7692 §7.1: a client with ${JSON.stringify(options)} fails the connection on ${header}`, () => {
    assert.throws(() => agreed(header, options), { name: 'HandshakeError' });
  });
}

test('window bits out of range are refused where they are configured', () => {
  for (const [role, options] of [
    ['server', { serverMaxWindowBits: 8 }],
    ['server', { serverMaxWindowBits: 16 }],
    ['server', { clientMaxWindowBits: 7 }],
    ['server', { clientMaxWindowBits: 9.5 }],
    ['client', { clientMaxWindowBits: 8 }],
    ['client', { serverMaxWindowBits: 7 }],
    ['client', { serverMaxWindowBits: Number.NaN }],
  ] as const) {
    assert.throws(() => validateDeflateOptions(role, options), RangeError);
  }
  validateDeflateOptions('server', { serverMaxWindowBits: 9, clientMaxWindowBits: 8 });
  validateDeflateOptions('client', { serverMaxWindowBits: 8, clientMaxWindowBits: true });
});

test('options that zlib does not know are refused where they are configured', () => {
  for (const zlibDeflateOptions of [{ level: 99 }, { memLevel: 0 }, { strategy: 9 }, { chunkSize: 1 }]) {
    assert.throws(() => validateDeflateOptions('server', { zlibDeflateOptions }), RangeError);
  }
  assert.throws(
    () => validateDeflateOptions('client', { zlibDeflateOptions: { level: '9' as never } }),
    TypeError,
  );
  assert.throws(() => validateDeflateOptions('client', { zlibInflateOptions: { chunkSize: 1 } }), RangeError);
  validateDeflateOptions('server', {
    zlibDeflateOptions: { level: 9, memLevel: 1, strategy: 4, chunkSize: 64 },
    zlibInflateOptions: { chunkSize: 64 },
  });
});

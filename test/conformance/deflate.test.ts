/** The runner's own permessage-deflate: negotiation and contexts (RFC 7692 §7). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { corpora } from '../../src/check/cases/corpora.ts';
import { compressedMessageOf, messageOf } from '../../src/check/cases/corpus-messages.ts';
import {
  answerOffers,
  Compressor,
  Decompressor,
  type DeflateRequest,
  formatOffers,
  readAnswer,
} from '../../src/check/deflate.ts';
import { Violation } from '../../src/check/frames.ts';

const free: DeflateRequest = { noContextTakeover: false, maxWindowBits: 0 };
const strict: DeflateRequest = { noContextTakeover: true, maxWindowBits: 9 };

/** Octets that don't repeat within 200 but do after 1000: a window of 512 has no use for the repetition. */
function farRepetition(): Buffer {
  const block = Buffer.from(Array.from({ length: 1000 }, (_, i) => (i * i * 31 + i * 7) % 251));
  return Buffer.concat([block, block, block]);
}

test('§7.2.3: the examples of the RFC are decompressed, in one context', () => {
  const decompressor = new Decompressor(free);
  for (const hex of [
    'f248cdc9c90700',
    'f200110000',
    '000500faff48656c6c6f00',
    'f24805000000ffffcac9c90700',
  ]) {
    assert.equal(decompressor.decompress(Buffer.from(hex, 'hex')).toString(), 'Hello', hex);
  }
});

test('messages go through compressor and decompressor, whatever the context and window', () => {
  for (const request of [free, strict, { ...strict, maxWindowBits: 15 }, { ...free, maxWindowBits: 9 }]) {
    const compressor = new Compressor(request);
    const decompressor = new Decompressor(request);
    for (let i = 0; i < 40; i++) {
      const message = Buffer.from(`message ${i} `.repeat(i * 10));
      assert.ok(decompressor.decompress(compressor.compress(message)).equals(message));
    }
  }
});

test('§7.1.1: a context that was to be reset is found out', () => {
  const compressor = new Compressor(free);
  const decompressor = new Decompressor(strict);
  const message = Buffer.from('a message that comes twice');
  decompressor.decompress(compressor.compress(message));
  assert.throws(() => decompressor.decompress(compressor.compress(message)), Violation);
});

test('§7.1.2: a larger window than agreed is found out', () => {
  const compressed = new Compressor(free).compress(farRepetition());
  assert.throws(() => new Decompressor({ ...free, maxWindowBits: 9 }).decompress(compressed), Violation);
  assert.ok(new Decompressor(free).decompress(compressed).equals(farRepetition()));
});

test('§7.1: offers are written, and answers to them read', () => {
  assert.equal(
    formatOffers([strict, free]),
    'permessage-deflate; client_no_context_takeover; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; client_no_context_takeover; client_max_window_bits',
  );
  assert.equal(readAnswer(undefined, [free]), undefined);
  assert.deepEqual(readAnswer('permessage-deflate', [free]), { own: free, peer: free });
  assert.deepEqual(
    readAnswer('permessage-deflate; server_no_context_takeover; server_max_window_bits=9', [strict]),
    { own: free, peer: strict },
  );
  assert.deepEqual(readAnswer('permessage-deflate; client_max_window_bits="10"', [free]), {
    own: { noContextTakeover: false, maxWindowBits: 10 },
    peer: free,
  });
});

test('§7.1: an answer that fits no offer is a violation', () => {
  const answers: [string, DeflateRequest[]][] = [
    ['permessage-deflate', []],
    ['permessage-deflate', [strict]],
    ['permessage-deflate; server_no_context_takeover', [strict]],
    ['permessage-deflate; server_max_window_bits=16', [free]],
    ['permessage-deflate; server_max_window_bits', [free]],
    ['permessage-deflate; client_no_context_takeover=1', [free]],
    ['permessage-deflate; client_max_window_bits=9; client_max_window_bits=9', [free]],
    ['permessage-deflate; unknown', [free]],
    ['x-webkit-deflate-frame', [free]],
    ['permessage-deflate, permessage-deflate', [free]],
  ];
  for (const [answer, requests] of answers) {
    assert.throws(() => readAnswer(answer, requests), Violation, answer);
  }
});

test('§7.1: an offer is answered with the first request that it permits', () => {
  assert.equal(answerOffers(undefined, [free]), undefined);
  assert.equal(answerOffers('permessage-deflate', [strict]), undefined);
  assert.equal(answerOffers('permessage-deflate', [strict, free])?.answer, 'permessage-deflate');
  assert.deepEqual(answerOffers('permessage-deflate; client_max_window_bits', [strict]), {
    answer: 'permessage-deflate; client_no_context_takeover; client_max_window_bits=9',
    settings: { own: free, peer: strict },
  });
  assert.deepEqual(
    answerOffers('permessage-deflate; server_no_context_takeover; server_max_window_bits=12', [free]),
    {
      answer: 'permessage-deflate; server_no_context_takeover; server_max_window_bits=12',
      settings: { own: { noContextTakeover: true, maxWindowBits: 12 }, peer: free },
    },
  );
});

test('messages that were compressed before are those that a compressor writes', () => {
  for (const corpus of [corpora[0]!, corpora[4]!]) {
    for (const [length, request] of [
      [40_000, free],
      [300, { ...free, maxWindowBits: 9 }],
      [131_072, strict],
    ] as const) {
      const compressor = new Compressor(request);
      for (let i = 0; i < 12; i++) {
        const expected = compressor.compress(messageOf(corpus, length, i));
        assert.ok(compressedMessageOf(corpus, length, i, request).equals(expected), `${corpus.title} ${i}`);
        assert.ok(compressedMessageOf(corpus, length, i, request).equals(expected), 'and again');
      }
    }
  }
});

/** What is fuzzed, and what must hold of it whatever the bytes. */
import assert from 'node:assert/strict';
import {
  acceptAnswer,
  acceptOffer,
  formatExtensions,
  formatParameters,
  formatResponse,
  HandshakeError,
  MessageDeflate,
  parseExtensions,
  parseRequest,
  parseResponse,
} from '../../src/protocol/index.ts';
import { RequestHeadError, RequestHeadReader } from '../../src/server/request-head.ts';
import { answers } from './answers.ts';
import { connections } from './connections.ts';
import { frames } from './frames.ts';
import { chunkEnds } from './mutate.ts';
import { sharedReads } from './shared-reads.ts';
import { corpus, type Target } from './target.ts';
import { tickets, tokens } from './tickets.ts';

// ── Handshakes ─────────────────────────────────────────────────────────────────────────────────────────

function isText(bytes: Buffer): boolean {
  return bytes.every((byte) => byte !== 10 && byte !== 13);
}

/** `Name: value` lines as node:http would give them, with the names of the handshake. */
function headersOf(input: Buffer): Record<string, string> {
  const headers: Record<string, string> = Object.create(null);
  for (const line of input.toString('latin1').split('\n')) {
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon)).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
  }
  return headers;
}

const requests: Target = {
  name: 'requests',
  corpus: corpus('requests'),
  run(input) {
    const headers = headersOf(input);
    try {
      const parsed = parseRequest({ method: headers['method'] ?? 'GET', headers });
      const [protocol] = parsed.protocols;
      const accepted = acceptOffer(parsed.extensions);
      const extensions = accepted && formatParameters(accepted);
      const head = formatResponse({ key: parsed.key, protocol, extensions });
      const lines = 5 + (protocol ? 1 : 0) + (extensions ? 1 : 0);
      assert.equal(head.split('\r\n').length - 1, lines, 'no line more than was written');
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
      assert.ok([400, 405, 426].includes(error.status));
    }
  },
};

const responses: Target = {
  name: 'responses',
  corpus: corpus('responses'),
  run(input) {
    const offered = { protocols: ['chat', 'superchat'], extensions: ['permessage-deflate'] };
    const headers = headersOf(input);
    try {
      const { extensions, protocol } = parseResponse(
        { status: 101, headers },
        'dGhlIHNhbXBsZSBub25jZQ==',
        offered,
      );
      assert.ok(offered.protocols.includes(protocol));
      const agreed = acceptAnswer(extensions);
      if (agreed) new MessageDeflate('client', agreed).close();
    } catch (error) {
      if (!(error instanceof HandshakeError)) throw error;
    }
  },
};

const extensions: Target = {
  name: 'extensions',
  corpus: corpus('extensions'),
  run(input) {
    let offers: ReturnType<typeof parseExtensions>;
    try {
      offers = parseExtensions(input.toString('latin1'));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return;
    }
    assert.deepEqual(parseExtensions(formatExtensions(offers)), offers, 'what is parsed can be written');
    const accepted = acceptOffer(offers, { serverNoContextTakeover: false, clientNoContextTakeover: false });
    if (accepted === undefined) return;
    const { serverMaxWindowBits = 15, clientMaxWindowBits = 15 } = accepted;
    assert.ok(serverMaxWindowBits >= 9 && serverMaxWindowBits <= 15);
    assert.ok(clientMaxWindowBits >= 8 && clientMaxWindowBits <= 15);
    assert.ok(isText(Buffer.from(formatParameters(accepted))));
  },
};

// ── The head of a request, as the raw listener reads it ────────────────────────────────────────────────

function readHead(input: Buffer, ends: number[]): string {
  const reader = new RequestHeadReader({ maxHeadBytes: 1024, maxHeadFields: 20 });
  let at = 0;
  try {
    for (const end of ends) {
      const head = reader.read(Buffer.from(input.subarray(at, end)));
      at = end;
      if (head === undefined) continue;
      for (const value of head.rawHeaders) assert.ok(!/[\r\n\0]/.test(value), 'a line is one line');
      assert.ok(head.rawHeaders.length <= 40);
      return JSON.stringify(head);
    }
  } catch (error) {
    if (!(error instanceof RequestHeadError)) throw error;
    assert.ok([400, 405, 414, 431, 505].includes(error.status));
    return 'refused';
  }
  return 'incomplete';
}

const requestHeads: Target = {
  name: 'request-heads',
  corpus: corpus('request-heads'),
  run(input, random) {
    const inParts = readHead(input, chunkEnds(input.length, random));
    if (!random.chance(4)) return;
    const whole = readHead(input, [input.length]);
    assert.equal(inParts, whole, 'the same head however the bytes are cut');
  },
};

/**
 * How often each is chosen: what is larger, and what more depends on, more often; what takes a hundred times as long,
 * less.
 */
export const targets: readonly { target: Target; weight: number }[] = [
  { target: frames, weight: 16 },
  { target: sharedReads, weight: 1 },
  { target: connections, weight: 1 },
  { target: requestHeads, weight: 6 },
  { target: requests, weight: 3 },
  { target: responses, weight: 3 },
  { target: extensions, weight: 5 },
  { target: answers, weight: 2 },
  { target: tickets, weight: 3 },
  { target: tokens, weight: 2 },
];

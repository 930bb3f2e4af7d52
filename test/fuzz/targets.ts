/** What is fuzzed, and what must hold of it whatever the bytes. */
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import {
  acceptAnswer,
  acceptOffer,
  type DeflateParameters,
  encodeFrame,
  FrameReader,
  type FrameReaderOptions,
  type FrameSink,
  formatExtensions,
  formatParameters,
  formatResponse,
  HandshakeError,
  isValidCloseCode,
  MessageDeflate,
  ProtocolError,
  parseExtensions,
  parseRequest,
  parseResponse,
} from '../../src/protocol/index.ts';
import { RequestHeadError, RequestHeadReader } from '../../src/server/request-head.ts';
import { chunkEnds } from './mutate.ts';
import type { Random } from './random.ts';

export interface Target {
  readonly name: string;
  readonly corpus: readonly Buffer[];
  /** An input from nothing, where that finds more than changing a seed. */
  generate?(random: Random): Buffer;
  /** Throws whatever is not documented to be thrown, or an AssertionError. May change the input. */
  run(input: Buffer, random: Random): void;
}

export const MAX_INPUT = 4096;
const MAX_PAYLOAD = 8192;

/** One input per line, in hexadecimal; lines with # are for the reader. */
function corpus(name: string): Buffer[] {
  return readFileSync(new URL(`corpus/${name}.hex`, import.meta.url), 'latin1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => Buffer.from(line, 'hex'));
}

// ── Frames ─────────────────────────────────────────────────────────────────────────────────────────────

/** Keeps a fingerprint of what it is given, and checks that it is what a sink may be given. */
class CheckingSink implements FrameSink {
  hash = 0;
  isClosed = false;

  /** Of the pieces of a message, which may be cut anywhere, until the message is whole. */
  #pieces = 0;

  #note(kind: number, data: Uint8Array): void {
    assert.equal(this.isClosed, false, 'nothing comes after a close');
    this.hash = add((Math.imul(this.hash, 31) + kind) | 0, data);
  }
  onMessage(data: Buffer, isBinary: boolean): void {
    assert.ok(data.length <= MAX_PAYLOAD, 'a message is within the limit');
    assert.ok(isBinary || isUtf8(data), 'text is UTF-8');
    this.#note(isBinary ? 2 : 1, data);
  }
  onFragment(data: Buffer, isBinary: boolean, isLast: boolean): void {
    assert.equal(this.isClosed, false, 'nothing comes after a close');
    assert.ok(isBinary || isUtf8(data), 'a piece of text is cut between characters');
    assert.ok(isLast || data.length > 0, 'only the last piece may be empty');
    this.#pieces = add(this.#pieces, data);
    if (!isLast) return;
    this.hash = (Math.imul(this.hash, 31) + this.#pieces + (isBinary ? 22 : 21)) | 0;
    this.#pieces = 0;
  }
  onPing(data: Buffer): void {
    assert.ok(data.length <= 125);
    this.#note(9, data);
  }
  onPong(data: Buffer): void {
    assert.ok(data.length <= 125);
    this.#note(10, data);
  }
  onClose(code: number, reason: string): void {
    assert.ok(code === 1005 ? reason === '' : isValidCloseCode(code));
    this.#note(code, Buffer.from(reason));
    this.isClosed = true;
  }
}

function add(hash: number, data: Uint8Array): number {
  let sum = hash;
  for (let i = 0; i < data.length; i++) sum = (Math.imul(sum, 31) + data[i]!) | 0;
  return sum;
}

const windows: (DeflateParameters | undefined)[] = [
  undefined,
  {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  },
  {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: 9,
    clientMaxWindowBits: 8,
  },
];

function readFrames(
  bytes: Buffer,
  ends: number[],
  options: FrameReaderOptions,
  parameters: DeflateParameters | undefined,
): number {
  const sink = new CheckingSink();
  const deflate = parameters && new MessageDeflate(options.role, parameters);
  const reader = new FrameReader(sink, deflate ? { ...options, deflate } : options);
  let at = 0;
  try {
    for (const end of ends) {
      // Memory of its own for every chunk, or what was kept of the last one would go unnoticed.
      const chunk = Buffer.from(bytes.subarray(at, end));
      const stopped = reader.read(chunk, 0, chunk.length);
      chunk.fill(0xdd);
      at = end;
      if (reader.isSuspended) return Number.NaN;
      assert.equal(stopped, chunk.length);
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    assert.ok([1002, 1007, 1008, 1009].includes(error.closeCode));
    assert.ok(reader.isEnded);
    return (sink.hash ^ error.closeCode) | 0;
  } finally {
    deflate?.close();
  }
  return sink.hash;
}

/** Frames with random headers, half of them valid, so that more than the first is reached. */
function generateFrames(random: Random): Buffer {
  const frames: Buffer[] = [];
  const isMasked = !random.chance(3);
  for (let count = 1 + random.below(6); count > 0; count--) {
    const opcode = random.pick([0, 0, 1, 1, 2, 8, 9, 10, random.below(16)]);
    const flags = random.pick([0x80, 0x80, 0x80, 0, 0xc0, 0x40, random.below(16) << 4]);
    const payload = Buffer.alloc(random.pick([0, 1, 2, 5, 20, 125, 126, 300]));
    const fill = random.below(4);
    for (let i = 0; i < payload.length; i++) payload[i] = fill === 0 ? random.next() : 0x20 + (i % 0x5f);
    if (opcode === 8 && payload.length >= 2)
      payload.writeUInt16BE(random.pick([1000, 1001, 1005, 3000, 999]));
    if (opcode < 3 && payload.length > 4 && random.chance(3))
      payload.set([0xf0, 0x9f, 0x98, 0x80], payload.length - 4);
    frames.push(encodeFrame(flags | opcode, payload, isMasked ? random.next() : undefined));
  }
  return Buffer.concat(frames).subarray(0, MAX_INPUT);
}

const frames: Target = {
  name: 'frames',
  corpus: corpus('frames'),
  generate: generateFrames,
  run(input, random) {
    const role = input.length > 1 && input[1]! >= 0x80 !== random.chance(16) ? 'server' : 'client';
    // Inflating costs more than all the rest.
    const parameters = random.chance(8) ? random.pick(windows) : undefined;
    const partial = random.chance(4);
    const maxFragments = random.chance(8) ? 3 : 0;
    const options: FrameReaderOptions = { role, maxPayload: MAX_PAYLOAD, partial, maxFragments };
    const inParts = readFrames(input, chunkEnds(input.length, random), options, parameters);
    if (!random.chance(4)) return;
    const whole = readFrames(input, [input.length], options, parameters);
    assert.ok(Object.is(whole, inParts), 'the same events however the bytes are cut');
  },
};

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

/** How often each is chosen: what is larger, and what more depends on, more often. */
export const targets: readonly { target: Target; weight: number }[] = [
  { target: frames, weight: 6 },
  { target: requestHeads, weight: 2 },
  { target: requests, weight: 1 },
  { target: responses, weight: 1 },
  { target: extensions, weight: 2 },
];

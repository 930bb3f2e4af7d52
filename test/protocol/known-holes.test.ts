/** One test for each hole that other implementations have had, named after it. Memory is counted, not timed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  FrameReader,
  HandshakeError,
  MessageDeflate,
  parseRequest,
  parseResponse,
} from '../../src/protocol/index.ts';
import { masked, Recorder, readAll } from './support.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;

/** Buffers are given back by a thread, and zlib's memory by callbacks, after the collector has run. */
async function collect(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Bytes that `make` leaves in use for as long as its result lives. */
async function retainedBy(make: () => unknown): Promise<number> {
  await collect();
  const before = process.memoryUsage();
  const kept = make();
  await collect();
  const after = process.memoryUsage();
  assert.ok(kept !== undefined);
  return after.heapUsed + after.external - before.heapUsed - before.external;
}

/**
 * Fails if what `make` returns keeps `limit` bytes or more in use. Memory is given back by a thread, and code is
 * compiled by others, which on a busy machine hardly run: too much is measured again, with something made anew.
 */
async function assertRetains(limit: number, make: () => unknown, name = 'it'): Promise<void> {
  let retained = limit;
  for (let i = 0; i < 10 && retained >= limit; i++) retained = await retainedBy(make);
  assert.ok(retained < limit, `${name} keeps ${retained} bytes, less than ${limit} are allowed`);
}

function serverReader(maxPayload = 0): FrameReader {
  return new FrameReader(new Recorder(), { role: 'server', maxPayload });
}

test('prototype-named pong payloads are bytes like any other', () => {
  for (const name of ['__proto__', 'constructor', 'toString']) {
    assert.deepEqual(readAll([masked(0x8a, name)]), [['pong', Buffer.from(name)]]);
  }
});

test('more headers than Node keeps: a request that lost the ones it needs is refused, not fatal', () => {
  const complete: Record<string, string> = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
  };
  for (const missing of Object.keys(complete)) {
    const { [missing]: _, ...headers } = complete;
    assert.throws(() => parseRequest({ method: 'GET', headers }), HandshakeError);
  }
  assert.throws(() => parseRequest({ method: 'GET', headers: {} }), HandshakeError);
  assert.throws(() => parseResponse({ status: 101, headers: {} }, ''), HandshakeError);
});

test('ReDoS and quadratic parsing: header values of a megabyte are judged in linear time', () => {
  const headers = {
    upgrade: 'websocket',
    connection: 'Upgrade',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    'sec-websocket-version': '13',
  };
  const n = 2 ** 20;
  const many = Array.from({ length: n / 8 }, (_, i) => `p${i}`).join(',');
  assert.equal(
    parseRequest({ method: 'GET', headers: { ...headers, 'sec-websocket-protocol': many } }).protocols.length,
    n / 8,
  );
  for (const [name, value] of [
    ['sec-websocket-protocol', `a${' '.repeat(n)}b`],
    ['sec-websocket-protocol', `${'a,'.repeat(n)}`],
    ['sec-websocket-extensions', `a${' '.repeat(n)}b`],
    ['sec-websocket-key', 'A'.repeat(n)],
    ['sec-websocket-version', '1'.repeat(n)],
    ['upgrade', `${' '.repeat(n)}x`],
    ['connection', `${','.repeat(n)}x`],
  ] as const) {
    assert.throws(
      () => parseRequest({ method: 'GET', headers: { ...headers, [name]: value } }),
      HandshakeError,
    );
  }
});

test('tiny fragments: a million of one byte cost what their bytes cost', async () => {
  const fragment = masked(0x00, 'a');
  const thousand = Buffer.concat(Array(1000).fill(fragment));
  await assertRetains(4 * 1024 * 1024, () => {
    const reader = serverReader();
    const first = masked(0x02, 'a');
    reader.read(first, 0, first.length);
    for (let i = 0; i < 1000; i++) {
      const chunk = Buffer.from(thousand);
      reader.read(chunk, 0, chunk.length);
    }
    return reader;
  });
});

test('tiny fragments: empty ones cost nothing', async () => {
  const thousand = Buffer.concat(Array(1000).fill(masked(0x00)));
  await assertRetains(256 * 1024, () => {
    const reader = serverReader();
    const first = masked(0x02);
    reader.read(first, 0, first.length);
    for (let i = 0; i < 1000; i++) reader.read(thousand, 0, thousand.length);
    return reader;
  });
});

test('tiny chunks: a few bytes of a message do not pin the 64 KiB that they were read into', async () => {
  const beginnings = {
    'half a header': masked(0x81, 'abc').subarray(0, 1),
    'a header but for its key': masked(0x82, Buffer.alloc(70_000)).subarray(0, 13),
    'a fragment': masked(0x01, 'abc'),
    'the beginning of a frame': masked(0x81, 'abcdefghij').subarray(0, 9),
    'the beginning of a ping': masked(0x89, 'abcdefghij').subarray(0, 9),
  };
  for (const [name, bytes] of Object.entries(beginnings)) {
    const make = () =>
      Array.from({ length: 500 }, () => {
        const slab = Buffer.allocUnsafeSlow(65536);
        bytes.copy(slab);
        const reader = serverReader();
        reader.read(slab, 0, bytes.length);
        return reader;
      });
    await assertRetains(500 * 2048, make, name);
  }
});

test('tiny chunks: a message that comes byte by byte costs its bytes', async () => {
  await assertRetains(256 * 1024, () => {
    const bytes = masked(0x82, Buffer.alloc(60_000));
    const reader = serverReader();
    for (let i = 0; i < bytes.length - 1; i++) reader.read(bytes, i, i + 1);
    return reader;
  });
});

test('a header that promises 100 MiB gets memory for what has come, not for what was said', async () => {
  const header = masked(0x82, Buffer.alloc(65536)).subarray(0, 14);
  header.writeBigUInt64BE(100n * 1024n * 1024n, 2);
  await assertRetains(200 * 8192, () =>
    Array.from({ length: 200 }, () => {
      const reader = serverReader();
      const chunk = Buffer.concat([header, Buffer.alloc(10)]);
      reader.read(chunk, 0, chunk.length);
      return reader;
    }),
  );
});

test('an idle connection with compression holds no zlib stream', async () => {
  const parameters = {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: undefined,
  };
  const payload = MessageDeflate.deflateShared(Buffer.from('hello '.repeat(100)));
  const count = 500;
  await assertRetains(count * 1024, () =>
    Array.from({ length: count }, () => {
      const deflate = new MessageDeflate('server', parameters);
      assert.equal(deflate.inflate(payload, Infinity, assert.ifError)?.length, 600);
      deflate.deflate(Buffer.alloc(2000), assert.ifError);
      return deflate;
    }),
  );
});

test('with context takeover it holds the windows, and no more', async () => {
  const parameters = {
    serverNoContextTakeover: false,
    clientNoContextTakeover: false,
    serverMaxWindowBits: undefined,
    clientMaxWindowBits: 10,
  };
  const count = 100;
  // 8 KiB of what was sent, 1 KiB of what was received, a quarter more for room, and the objects. A pair of zlib
  // streams would be more than 200 KiB.
  await assertRetains(count * 20 * 1024, () =>
    Array.from({ length: count }, () => {
      const server = new MessageDeflate('server', parameters);
      for (let i = 0; i < 50; i++) server.deflate(Buffer.alloc(5000, i), assert.ifError);
      const client = new MessageDeflate('client', parameters);
      for (let i = 0; i < 50; i++) {
        const payload = client.deflate(Buffer.alloc(500, i), assert.ifError);
        server.inflate(payload!, Infinity, assert.ifError);
      }
      return server;
    }),
  );
});

/** Messages of one connection among shared ones (RFC 7692 §7.1.1): whatever the order, every peer must inflate them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInflateRaw, type InflateRaw, inflateRawSync, constants as zlib } from 'node:zlib';
import { MessageDeflate } from '../../src/protocol/index.ts';
import { SlidingWindow } from '../../src/protocol/sliding-window.ts';
import { Random } from '../../src/prove/random.ts';

const TAIL = Buffer.from([0x00, 0x00, 0xff, 0xff]);

/** Text in which much comes again, over short and long distances; different for every seed. */
function text(random: Random, length: number): Buffer {
  const words = ['alpha ', 'beta ', 'gamma ', 'delta ', 'an unusual sequence of words ', `${random.next()} `];
  let made = '';
  while (made.length < length) made += random.pick(words);
  return Buffer.from(made.slice(0, length));
}

/** What one zlib stream, which lives as long as the connection, makes of each message. */
class Peer {
  readonly #stream: InflateRaw;
  #parts: Buffer[] = [];

  constructor(windowBits: number) {
    this.#stream = createInflateRaw({ windowBits, finishFlush: zlib.Z_SYNC_FLUSH });
    this.#stream.on('data', (part: Buffer) => this.#parts.push(part));
  }

  async inflate(payload: Buffer): Promise<Buffer> {
    await new Promise<void>((resolve, reject) => {
      this.#stream.once('error', reject);
      this.#stream.write(Buffer.concat([payload, TAIL]));
      this.#stream.flush(() => {
        this.#stream.off('error', reject);
        resolve();
      });
    });
    const message = Buffer.concat(this.#parts);
    this.#parts = [];
    return message;
  }

  close(): void {
    this.#stream.close();
  }
}

function connection(bits: number, takesOver: boolean): [MessageDeflate, MessageDeflate] {
  const parameters = {
    serverNoContextTakeover: !takesOver,
    clientNoContextTakeover: !takesOver,
    serverMaxWindowBits: bits,
    clientMaxWindowBits: bits,
  };
  return [new MessageDeflate('server', parameters), new MessageDeflate('client', parameters)];
}

async function inflate(deflate: MessageDeflate, payload: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const now = deflate.inflate(payload, Infinity, (error, data) => (error ? reject(error) : resolve(data)));
    if (now !== undefined) resolve(now);
  });
}

for (const takesOver of [true, false]) {
  for (let bits = 9; bits <= 15; bits++) {
    const title = `${takesOver ? 'with' : 'without'} context takeover, a window of ${bits} bits`;
    test(`own and shared messages in any order inflate at every peer: ${title}`, async () => {
      for (let seed = 0; seed < 12; seed++) {
        const random = new Random(seed * 16 + bits);
        const [server, client] = connection(bits, takesOver);
        const peer = new Peer(bits);
        const wire: { data: Buffer; payload: Promise<Buffer> | Buffer }[] = [];
        const shared = [0, 4, 100, 3000, 8192, 8193, 50_000].map((size) => text(random, size));
        for (let i = 0; i < 40; i++) {
          const kind = random.below(8);
          if (kind < 3) {
            // Sent to all, compressed once. The frame follows what is being compressed.
            const data = random.pick(shared);
            wire.push({ data, payload: MessageDeflate.deflateShared(data, server.sendWindowBits) });
            // Several in one write are told of by the last one.
            if (random.chance(4)) {
              wire.push({
                data: shared[0]!,
                payload: MessageDeflate.deflateShared(shared[0]!, server.sendWindowBits),
              });
              server.sharedSent(shared[0]!);
            } else {
              server.sharedSent(data);
            }
            continue;
          }
          // Sent to all, uncompressed: it is in no context.
          if (kind === 3) continue;
          const size = kind === 4 ? 10_241 + random.below(60_000) : random.below(3000);
          const data = text(random, size);
          const payload = new Promise<Buffer>((resolve, reject) => {
            const now = server.deflate(data, (error, output) => (error ? reject(error) : resolve(output)));
            if (now !== undefined) resolve(now);
          });
          wire.push({ data, payload });
          // Often all before it is through, so that both ways are gone.
          if (random.chance(3)) await payload;
        }
        for (const [i, { data, payload }] of wire.entries()) {
          const bytes = await payload;
          const where = `seed ${seed}, message ${i}`;
          const byPeer = takesOver
            ? await peer.inflate(bytes)
            : inflateRawSync(Buffer.concat([bytes, TAIL]), {
                windowBits: bits,
                finishFlush: zlib.Z_SYNC_FLUSH,
              });
          assert.ok(byPeer.equals(data), `one zlib stream: ${where}`);
          assert.ok((await inflate(client, bytes)).equals(data), `our client: ${where}`);
        }
        peer.close();
      }
    });
  }
}

test('what is shared uncompressed costs a context nothing, and what is shared compressed is in it', () => {
  const own = text(new Random(1), 500);
  const [server] = connection(15, true);
  server.deflate(own, assert.fail);
  assert.ok(server.deflate(own, assert.fail)!.length < 20);
  const shared = text(new Random(2), 5000);
  server.sharedSent(shared);
  assert.ok(server.deflate(shared, assert.fail)!.length < 200);
  assert.ok(server.deflate(own, assert.fail)!.length > 30);
  assert.ok(server.deflate(own, assert.fail)!.length < 20);
});

test('a shared message is kept by reference, by any number of connections, and a huge one is not pinned', () => {
  const shared = Buffer.alloc(20_000, text(new Random(3), 20_000));
  const window = new SlidingWindow(8192);
  window.append(Buffer.from('before'));
  window.replace(shared);
  assert.equal(window.bytes.buffer, shared.buffer);
  assert.ok(window.bytes.equals(shared.subarray(-8192)));
  const before = Buffer.from(shared);
  window.append(Buffer.from('behind'));
  assert.ok(shared.equals(before), 'what is shared is not written to');
  assert.notEqual(window.bytes.buffer, shared.buffer);
  assert.ok(window.bytes.equals(Buffer.concat([shared, Buffer.from('behind')]).subarray(-8192)));
  const huge = Buffer.alloc(1_000_000, 'x');
  window.replace(huge);
  assert.notEqual(window.bytes.buffer, huge.buffer);
  assert.ok(window.bytes.equals(huge.subarray(-8192)));
});

test('a window is always the last bytes of what came, in whatever way it came', () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new Random(seed);
    const size = random.pick([1, 2, 16, 512, 8192]);
    const window = new SlidingWindow(size);
    let all = Buffer.alloc(0);
    for (let i = 0; i < 60; i++) {
      const part = text(random, random.pick([0, 1, 5, size - 1, size, size + 1, 3 * size, 70_000]));
      if (random.chance(20)) {
        window.replace(Buffer.alloc(0));
        all = Buffer.alloc(0);
      }
      const isReplaced = random.chance(2);
      if (isReplaced) window.replace(part);
      else window.append(part);
      all = Buffer.concat([isReplaced ? Buffer.alloc(0) : all, part]).subarray(-size);
      assert.ok(window.bytes.equals(all), `seed ${seed}, step ${i}`);
    }
  }
});

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createInflateRaw, deflateRawSync, constants as zlib } from 'node:zlib';
import {
  type DeflateParameters,
  FrameReader,
  MessageDeflate,
  type ProtocolError,
} from '../../src/protocol/index.ts';
import { bytewise, type Event, frame, hex, masked, Recorder, readAll } from './support.ts';

const alone: DeflateParameters = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: undefined,
  clientMaxWindowBits: undefined,
};
const takeover: DeflateParameters = {
  ...alone,
  serverNoContextTakeover: false,
  clientNoContextTakeover: false,
};

function deflated(deflate: MessageDeflate, data: string | Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const now = deflate.deflate(Buffer.from(data), (error, payload) =>
      error ? reject(error) : resolve(payload),
    );
    if (now !== undefined) resolve(now);
  });
}

async function inflated(deflate: MessageDeflate, data: Buffer, limit = Infinity): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const now = deflate.inflate(data, limit, (error, message) => (error ? reject(error) : resolve(message)));
    if (now !== undefined) resolve(now);
  });
}

function readCompressed(bytes: Buffer, parameters: DeflateParameters): Event[] {
  const options = { role: 'client' as const, deflate: new MessageDeflate('client', parameters) };
  const inOneChunk = readAll([Buffer.from(bytes)], options);
  options.deflate = new MessageDeflate('client', parameters);
  assert.deepEqual(readAll(bytewise(bytes), options), inOneChunk, 'byte by byte');
  return inOneChunk;
}

const hello: Event[] = [['message', 'Hello']];

test('RFC 7692 §7.2.3.1: a message compressed using one compressed DEFLATE block', () => {
  assert.deepEqual(readCompressed(hex('c1 07 f2 48 cd c9 c9 07 00'), alone), hello);
});
test('RFC 7692 §7.2.3.1: the same in two fragments', () => {
  assert.deepEqual(readCompressed(hex('41 03 f2 48 cd 80 04 c9 c9 07 00'), alone), hello);
});
test('RFC 7692 §7.2.3.2: sharing the LZ77 sliding window', () => {
  const second = hex('c1 05 f2 00 11 00 00');
  const both = Buffer.concat([hex('c1 07 f2 48 cd c9 c9 07 00'), second]);
  assert.deepEqual(readCompressed(both, takeover), [...hello, ...hello]);
  assert.deepEqual(readCompressed(both, alone).at(-1), ['error', 1007, 'Z_DATA_ERROR']);
});
test('RFC 7692 §7.2.3.3: a DEFLATE block with no compression', () => {
  assert.deepEqual(readCompressed(hex('c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00'), alone), hello);
});
test('RFC 7692 §7.2.3.4: a DEFLATE block with BFINAL set to 1', () => {
  assert.deepEqual(readCompressed(hex('c1 08 f3 48 cd c9 c9 07 00 00'), alone), hello);
});
test('RFC 7692 §7.2.3.4: blocks follow the one with BFINAL set to 1, in the same context', () => {
  const first = hex('f3 48 cd c9 c9 07 00');
  const rest = deflateRawSync(Buffer.from('Hello again'), {
    dictionary: Buffer.from('Hello'),
    finishFlush: zlib.Z_SYNC_FLUSH,
  }).subarray(0, -4);
  const bytes = frame(0xc1, Buffer.concat([first, rest]));
  assert.deepEqual(readCompressed(bytes, alone), [['message', 'HelloHello again']]);
});
test('RFC 7692 §7.2.3.5: two DEFLATE blocks in one message', () => {
  assert.deepEqual(readCompressed(hex('c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00'), alone), hello);
});
test('RFC 7692 §7.2.3.6: an empty message', async () => {
  assert.deepEqual(readCompressed(hex('c1 01 00'), alone), [['message', '']]);
  assert.deepEqual(await deflated(new MessageDeflate('server', alone), ''), hex('00'));
});
test('RFC 7692 §6.1: a control frame between compressed fragments, and an uncompressed message after', () => {
  const bytes = hex('41 03 f2 48 cd 89 00 80 04 c9 c9 07 00 81 01 78');
  assert.deepEqual(readCompressed(bytes, alone), [['ping', Buffer.alloc(0)], ...hello, ['message', 'x']]);
});
test('RFC 7692 §6.1: RSV1 on a continuation or a control frame fails the connection with 1002', () => {
  const error: Event[] = [['error', 1002, 'WS_ERR_UNEXPECTED_RSV_1']];
  assert.deepEqual(readCompressed(hex('41 03 f2 48 cd c0 04 c9 c9 07 00'), alone), error);
  assert.deepEqual(readCompressed(hex('c9 00'), alone), error);
});
test('invalid compressed data fails the connection with 1007', () => {
  assert.deepEqual(readCompressed(frame(0xc1, hex('ff ff ff ff')), alone), [['error', 1007, 'Z_DATA_ERROR']]);
});
test('compressed text that is not UTF-8 fails the connection with 1007', async () => {
  const payload = await deflated(new MessageDeflate('server', alone), hex('61ff'));
  assert.deepEqual(readCompressed(frame(0xc1, payload), alone), [['error', 1007, 'WS_ERR_INVALID_UTF8']]);
});

for (const [name, parameters] of [
  ['each message alone', alone],
  ['context takeover', takeover],
  ['context takeover, smallest windows', { ...takeover, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }],
] as const) {
  test(`what one side compresses the other inflates: ${name}`, async () => {
    const server = new MessageDeflate('server', parameters);
    const client = new MessageDeflate('client', parameters);
    for (let i = 0; i < 60; i++) {
      const size = [0, 1, 100, 1000, 5000, 20_000, 100_000][i % 7]!;
      const text = Buffer.from(`message ${i} `.repeat(size).slice(0, size));
      const noise = randomBytes(size >> 3);
      for (const data of [text, noise]) {
        assert.ok(
          (await inflated(client, await deflated(server, data))).equals(data),
          `to the client, ${size}`,
        );
        assert.ok(
          (await inflated(server, await deflated(client, data))).equals(data),
          `to the server, ${size}`,
        );
      }
    }
  });
}

test('a stream of messages inflates with one plain zlib stream, as a peer would keep it', async () => {
  const server = new MessageDeflate('server', takeover);
  const peer = createInflateRaw();
  const sent: Buffer[] = [];
  const received: Buffer[] = [];
  peer.on('data', (data: Buffer) => received.push(data));
  for (let i = 0; i < 200; i++) {
    const data = Buffer.from(JSON.stringify({ id: i, subject: `mail ${i % 7}`, text: 'x'.repeat(i * 10) }));
    sent.push(data);
    peer.write(await deflated(server, data));
    await new Promise<void>((resolve) => peer.write(hex('0000ffff'), () => resolve()));
  }
  await new Promise<void>((resolve) => peer.flush(() => resolve()));
  assert.ok(Buffer.concat(received).equals(Buffer.concat(sent)));
});

test('context takeover makes a repeated message small', async () => {
  const data = randomBytes(500).toString('hex');
  const server = new MessageDeflate('server', takeover);
  const first = await deflated(server, data);
  const second = await deflated(server, data);
  assert.ok(second.length * 10 < first.length, `${first.length} then ${second.length}`);
});

test('a shared frame, and what follows it', async () => {
  const shared = Buffer.from('broadcast to everyone '.repeat(20));
  const own = Buffer.from('only for this connection '.repeat(20));
  const server = new MessageDeflate('server', takeover);
  const client = new MessageDeflate('client', takeover);
  const compressed = MessageDeflate.deflateShared(shared);
  for (let i = 0; i < 5; i++) {
    assert.ok((await inflated(client, await deflated(server, own))).equals(own));
    assert.ok((await inflated(client, compressed)).equals(shared));
    server.sharedSent(shared);
  }
});

test('messages come out in the order they went in, small behind large', async () => {
  const server = new MessageDeflate('server', takeover);
  const client = new MessageDeflate('client', takeover);
  const sizes = [100_000, 10, 50_000, 5, 0, 20_000, 1];
  const order: number[] = [];
  const payloads = await Promise.all(
    sizes.map(async (size, i) => {
      const payload = await deflated(server, Buffer.alloc(size, 65 + i));
      order.push(i);
      return payload;
    }),
  );
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5, 6]);
  for (const [i, payload] of payloads.entries()) {
    assert.ok((await inflated(client, payload)).equals(Buffer.alloc(sizes[i]!, 65 + i)));
  }
});

test('a small message is compressed at once, unless something is pending; a large one later, never within the call', async () => {
  const server = new MessageDeflate('server', takeover);
  const failed = (): never => assert.fail('called');
  assert.deepEqual(server.deflate(Buffer.alloc(0), failed), hex('00'));
  const payload = server.deflate(Buffer.from('Hello'), failed);
  assert.ok(payload instanceof Buffer && payload.length > 0);
  const order: string[] = [];
  const later = (name: string, size: number): Promise<void> =>
    new Promise((resolve) => {
      let returned = false;
      const now = server.deflate(Buffer.alloc(size), (error, output) => {
        assert.equal(error, null);
        assert.ok(returned && output.length > 0);
        order.push(name);
        resolve();
      });
      returned = true;
      assert.equal(now, undefined);
    });
  await Promise.all([later('large', 100_000), later('small behind it', 10), later('another', 20_000)]);
  assert.deepEqual(order, ['large', 'small behind it', 'another']);
  assert.ok(server.deflate(Buffer.from('Hello'), failed) !== undefined, 'nothing is pending any more');
  server.close();
  let returned = false;
  const closed = new Promise<Error | null>((resolve) => {
    server.deflate(Buffer.from('Hello'), (error) => {
      assert.ok(returned);
      resolve(error);
    });
    returned = true;
  });
  assert.ok((await closed) instanceof Error);
});

test('close: what waits is told after the call, each on its own, and what has its end is not told again', async () => {
  const server = new MessageDeflate('server', alone);
  const told: number[] = [];
  for (let i = 0; i < 3; i++) server.deflate(Buffer.alloc(100_000), () => void told.push(i));
  server.close();
  assert.deepEqual(told, []);
  server.close();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(told, [0, 1, 2]);
});

test('options of zlib that would break the stream for the peer have no effect', async () => {
  const zlibOptions = { dictionary: Buffer.from('Hello'), info: true, maxOutputLength: 3, windowBits: 10 };
  const options = { zlibDeflateOptions: { ...zlibOptions, level: 1 }, zlibInflateOptions: zlibOptions };
  const server = new MessageDeflate('server', takeover, options);
  const client = new MessageDeflate('client', takeover);
  for (const size of [5, 1000, 50_000]) {
    const data = Buffer.from('Hello'.repeat(size / 5));
    assert.ok((await inflated(client, await deflated(server, data))).equals(data));
    assert.ok((await inflated(server, await deflated(client, data))).equals(data));
    const shared = MessageDeflate.deflateShared(data, 15, options.zlibDeflateOptions);
    assert.ok((await inflated(new MessageDeflate('client', alone), shared)).equals(data));
  }
});

test('small payloads that inflate far: like ones go to the thread pool, and small ones come back from there', async () => {
  const client = new MessageDeflate('client', alone);
  const compressed = (size: number): Buffer => MessageDeflate.deflateShared(Buffer.alloc(size));
  const isAtOnce = async (payload: Buffer, size: number): Promise<boolean> => {
    let isLate = false;
    const message = await new Promise<Buffer>((resolve, reject) => {
      const now = client.inflate(payload, Infinity, (error, data) => (error ? reject(error) : resolve(data)));
      isLate = now === undefined;
      if (now !== undefined) resolve(now);
    });
    assert.equal(message.length, size);
    return !isLate;
  };
  for (const size of [65_536, 65_537, 65_540, 1_000_000, 0, 65_537, 1_000_000, 100]) {
    await isAtOnce(compressed(size), size);
  }
  assert.equal(await isAtOnce(compressed(100), 100), true);
  assert.equal(await isAtOnce(compressed(1_000_000), 1_000_000), false);
  assert.equal(await isAtOnce(compressed(1_000_000), 1_000_000), false);
  await isAtOnce(compressed(50), 50);
  assert.equal(await isAtOnce(compressed(0), 0), true);
});

test('inflate bomb: output is bounded, whichever way it is inflated', async () => {
  const bomb = deflateRawSync(Buffer.alloc(50_000_000), { finishFlush: zlib.Z_SYNC_FLUSH });
  for (const [payload, limit] of [
    [bomb, 1_000_000],
    [bomb, 1000],
    [deflateRawSync(Buffer.alloc(200_000), { finishFlush: zlib.Z_SYNC_FLUSH }), 100_000],
  ] as const) {
    await assert.rejects(inflated(new MessageDeflate('server', alone), payload, limit), {
      code: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
      closeCode: 1009,
    });
  }
});
test('a message that inflates to just the limit is taken', async () => {
  for (const size of [1000, 65536, 100_000]) {
    const payload = await deflated(new MessageDeflate('client', alone), Buffer.alloc(size));
    assert.equal((await inflated(new MessageDeflate('server', alone), payload, size)).length, size);
    await assert.rejects(inflated(new MessageDeflate('server', alone), payload, size - 1), {
      closeCode: 1009,
    });
  }
});
test('a message of nothing but final blocks is bounded', async () => {
  await assert.rejects(
    inflated(new MessageDeflate('server', alone), Buffer.from('0300'.repeat(5000), 'hex')),
    {
      code: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
      closeCode: 1008,
    },
  );
  await assert.rejects(
    inflated(new MessageDeflate('server', alone), Buffer.from('0300'.repeat(50_000), 'hex')),
    {
      closeCode: 1008,
    },
  );
});

test('a client told to use a window of 8 sends uncompressed, as zlib has none', () => {
  const client = new MessageDeflate('client', { ...alone, clientMaxWindowBits: 8 });
  assert.equal(client.wants(100_000), false);
});
test('threshold: default 1024, and none with context takeover', () => {
  assert.equal(new MessageDeflate('server', alone).wants(1023), false);
  assert.equal(new MessageDeflate('server', alone).wants(1024), true);
  assert.equal(new MessageDeflate('server', alone, { threshold: 0 }).wants(0), true);
  assert.equal(new MessageDeflate('server', takeover).wants(1), true);
});
test('close: what waits ends with an error, and nothing is called later', async () => {
  const server = new MessageDeflate('server', alone);
  const pending = [deflated(server, Buffer.alloc(100_000)), deflated(server, Buffer.alloc(10))];
  server.close();
  for (const result of await Promise.allSettled(pending)) assert.equal(result.status, 'rejected');
  await assert.rejects(deflated(server, 'x'));
});

test('a hundred connections that compress at once each get what is theirs', async () => {
  const peer = new MessageDeflate('client', alone);
  await Promise.all(
    Array.from({ length: 100 }, async (_, i) => {
      const data = Buffer.alloc(20_000, i);
      const payload = await deflated(new MessageDeflate('server', alone, { concurrencyLimit: 3 }), data);
      assert.ok((await inflated(peer, payload)).equals(data));
    }),
  );
});

test('a connection that is closed while it waits for the thread pool is told nothing more', async () => {
  const gone = Array.from({ length: 20 }, () => {
    const deflate = new MessageDeflate('server', alone, { concurrencyLimit: 1 });
    assert.equal(
      deflate.inflate(Buffer.alloc(20_000, 0xff), 1000, () => assert.fail('called')),
      undefined,
    );
    return deflate;
  });
  for (const deflate of gone) deflate.close();
  const after = new MessageDeflate('server', alone, { concurrencyLimit: 1 });
  assert.ok((await deflated(after, Buffer.alloc(20_000))).length > 0);
});

test('a large compressed message suspends the reader; what follows comes after it', async () => {
  const sent = new MessageDeflate('client', alone);
  const large = randomBytes(60_000);
  const bytes = Buffer.concat([
    masked(0xc2, await deflated(sent, large)),
    masked(0xc1, await deflated(sent, 'after')),
    masked(0x88),
  ]);
  const sink = new Recorder();
  const deflate = new MessageDeflate('server', alone);
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0, deflate });
  let at = 0;
  await new Promise<void>((resolve) => {
    const feed = (): void => {
      at = reader.read(bytes, at, bytes.length);
      if (at === bytes.length) resolve();
    };
    (sink as { onResume?: () => void }).onResume = feed;
    feed();
    assert.equal(reader.isSuspended, true);
    assert.deepEqual(sink.events, []);
  });
  assert.deepEqual(sink.events, [
    ['message', large],
    ['message', 'after'],
    ['close', 1005, ''],
  ]);
});
test('an error of an asynchronous inflate comes through onError', async () => {
  const bytes = masked(0xc2, Buffer.alloc(20_000, 0xff));
  const sink = new Recorder();
  const deflate = new MessageDeflate('server', alone);
  const reader = new FrameReader(sink, { role: 'server', maxPayload: 0, deflate });
  const error = await new Promise<ProtocolError>((resolve) => {
    sink.onError = resolve;
    reader.read(bytes, 0, bytes.length);
  });
  assert.equal(error.closeCode, 1007);
  assert.equal(reader.isEnded, true);
});

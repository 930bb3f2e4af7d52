import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MessageDeflate } from '../../src/protocol/index.ts';
import { inZlibQueue, type ZlibTurn } from '../../src/protocol/zlib-queue.ts';

const alone = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  serverMaxWindowBits: undefined,
  clientMaxWindowBits: undefined,
};
const MANY = 50_000;

/** Keeps the queue busy, for whoever has a limit of 1, until it is called. */
function occupy(): () => void {
  let end: (() => void) | undefined;
  inZlibQueue(0, (release) => {
    end = release;
  });
  return end!;
}

test('no more than the limit are at work; who waits comes in order', () => {
  const started: number[] = [];
  const ends: (() => void)[] = [];
  for (let i = 0; i < 6; i++) {
    inZlibQueue(2, (done) => {
      started.push(i);
      ends.push(done);
    });
  }
  assert.deepEqual(started, [0, 1]);
  ends[1]!();
  assert.deepEqual(started, [0, 1, 2]);
  ends[0]!();
  ends[2]!();
  assert.deepEqual(started, [0, 1, 2, 3, 4]);
  ends[3]!();
  ends[4]!();
  ends[5]!();
  assert.deepEqual(started, [0, 1, 2, 3, 4, 5]);
});

test('a limit of 0 is none', () => {
  let count = 0;
  const ends: (() => void)[] = [];
  for (let i = 0; i < 100; i++) {
    inZlibQueue(0, (done) => {
      count++;
      ends.push(done);
    });
  }
  assert.equal(count, 100);
  for (const end of ends) end();
});

test('who gives up is never started, wherever it stood, and the others keep their order', () => {
  const release = occupy();
  const started: number[] = [];
  const turns = Array.from({ length: 10 }, (_, i) =>
    inZlibQueue(1, (done) => {
      started.push(i);
      done();
    }),
  );
  for (const i of [0, 4, 5, 9, 4, 0]) turns[i]!.cancel();
  release();
  assert.deepEqual(started, [1, 2, 3, 6, 7, 8]);
  for (const turn of turns) turn.cancel();
  let isStarted = false;
  inZlibQueue(1, (done) => {
    isStarted = true;
    done();
  });
  assert.equal(isStarted, true, 'all places are free again');
});

test('one may give up others, and itself, while it is started', () => {
  const release = occupy();
  const started: number[] = [];
  const turns: ZlibTurn[] = [];
  for (let i = 0; i < 6; i++) {
    turns.push(
      inZlibQueue(1, (done) => {
        started.push(i);
        turns[i]!.cancel();
        turns[i + 1]?.cancel();
        done();
      }),
    );
  }
  release();
  assert.deepEqual(started, [0, 2, 4]);
});

test('any number that are over at once do not overflow the stack, and neither do those that gave up', () => {
  const release = occupy();
  let count = 0;
  const turns = Array.from({ length: MANY }, () =>
    inZlibQueue(1, (done) => {
      count++;
      done();
    }),
  );
  for (let i = 0; i < MANY; i += 2) turns[i]!.cancel();
  release();
  assert.equal(count, MANY / 2);
});

test('any number of connections may be closed while they wait to inflate or to deflate', async () => {
  const release = occupy();
  const errors: Error[] = [];
  const connections = Array.from({ length: MANY }, (_, i) => {
    const deflate = new MessageDeflate('server', alone, { concurrencyLimit: 1 });
    const called = (error: Error | null) => void errors.push(error!);
    if (i % 2 === 0) assert.equal(deflate.inflate(Buffer.alloc(10_241), 1000, called), undefined);
    else assert.equal(deflate.deflate(Buffer.alloc(10_241), called), undefined);
    return deflate;
  });
  for (const deflate of connections) deflate.close();
  const last = new MessageDeflate('server', alone, { concurrencyLimit: 1 });
  const payload = new Promise<Buffer>((resolve, reject) => {
    last.deflate(Buffer.alloc(20_000), (error, output) => (error ? reject(error) : resolve(output)));
  });
  release();
  assert.ok((await payload).length > 0);
  assert.equal(errors.length, MANY / 2);
  assert.ok(errors.every((error) => error instanceof Error));
});

test('any number of messages and shared frames may wait behind one that is compressed', async () => {
  const takeover = { ...alone, serverNoContextTakeover: false };
  const deflate = new MessageDeflate('server', takeover, { concurrencyLimit: 1 });
  const shared = Buffer.from('shared');
  const payloads: Promise<Buffer>[] = [];
  const push = (data: Buffer): void => {
    payloads.push(
      new Promise((resolve, reject) => {
        const now = deflate.deflate(data, (error, payload) => (error ? reject(error) : resolve(payload)));
        assert.equal(now, undefined);
      }),
    );
  };
  push(Buffer.alloc(20_000));
  for (let i = 0; i < MANY; i++) deflate.sharedSent(shared);
  push(shared);
  for (let i = 0; i < 500; i++) push(Buffer.from(`small ${i}`));
  assert.equal((await Promise.all(payloads)).length, 502);
});

test('a call that zlib refuses gives its place back', async () => {
  const refused = new MessageDeflate('server', alone, {
    concurrencyLimit: 1,
    zlibDeflateOptions: { level: 99 },
  });
  const error = await new Promise<Error | null>((resolve) => {
    refused.deflate(Buffer.alloc(20_000), resolve);
  });
  assert.equal((error as NodeJS.ErrnoException).code, 'ERR_OUT_OF_RANGE');
  const after = new MessageDeflate('server', alone, { concurrencyLimit: 1 });
  await new Promise((resolve) => after.deflate(Buffer.alloc(20_000), resolve));
});

/** Everything a store and its doorbells can do wrong, at random, against the one property that counts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryStore, memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { until } from '../support/net.ts';
import { faultyBroker } from './faulty-broker.ts';
import { ReturningPage } from './returning-page.ts';
import { type Running, startPush } from './support.ts';

/** Mulberry32: the same faults for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const USERS = ['u0', 'u1', 'u2'];
const EACH = 600;

for (const seed of [Number(process.env['SEED'] ?? 1), 2, 3]) {
  test(`doorbells lost, late and twice, refused reads, a store that comes and goes: in order, exactly once (seed ${seed})`, async () => {
    const random = randomFrom(seed);
    const store = new MemoryStore();
    let areFaultsOn = true;
    const brokers = [0, 1].map(() =>
      faultyBroker(memoryBroker(store), {
        loses: () => areFaultsOn && random() < 0.05,
        delays: () => (areFaultsOn && random() < 0.1 ? 1 + random() * 20 : 0),
        repeats: () => random() < 0.1,
        refuses: () => areFaultsOn && random() < 0.1,
      }),
    );
    const instances: Running[] = await Promise.all(
      brokers.map((broker) => startPush({ broker, checkInterval: 300 })),
    );
    const urls = instances.map(({ url }) => url);
    const pages = USERS.flatMap((user) => [
      new ReturningPage(urls, user),
      new ReturningPage([...urls].reverse(), user),
    ]);
    await Promise.all(pages.map((page) => page.connect()));
    const rounds = pages.map(async (page) => {
      while (areFaultsOn) {
        await new Promise((resolve) => setTimeout(resolve, 20 + random() * 150));
        page.cut();
        await page.connect();
      }
    });
    for (let n = 1; n <= EACH; n++) {
      await Promise.all(USERS.map((user) => instances[n % 2]!.push.send(user, n)));
      if (n % 3 === 0) await new Promise((resolve) => setTimeout(resolve, random() * 6));
      if (n % 50 === 0) {
        const { listener } = brokers[n % 100 === 0 ? 0 : 1]!;
        listener.down(new Error('gone'));
        setTimeout(() => listener.up(), random() * 30);
      }
    }
    areFaultsOn = false;
    await Promise.all(rounds);
    for (const page of pages) {
      await until('the last one', () => page.look().length >= EACH);
      page.cut();
      assert.deepEqual(
        page.seen,
        Array.from({ length: EACH }, (_, i) => i + 1),
      );
      assert.deepEqual(page.told, []);
    }
    await Promise.all(instances.map(({ push }) => push.close()));
  });
}

test('the return of the store is logged as loud as its loss', async (t) => {
  const broker = faultyBroker(memoryBroker());
  const { push, log } = await startPush({ broker });
  t.after(() => push.close());
  broker.listener.down(new Error('gone'));
  broker.listener.up();
  broker.listener.down(new Error('gone again'));
  broker.listener.up();
  assert.deepEqual(
    log.map((line) => /^(\w+): .*(away|back)/.exec(line)?.slice(1)),
    [
      ['warn', 'away'],
      ['warn', 'back'],
      ['warn', 'away'],
      ['warn', 'back'],
    ],
  );
});

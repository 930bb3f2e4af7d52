/** Slow is not dead: who takes anything at all gets everything, and who takes nothing costs a bounded amount. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import v8 from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { PushServer, Session } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { onEachStore, onMemory } from './stores.ts';
import { AnyPage, DOORS, startBehindThinLine } from './thin-line.ts';

const KIB = 1024;
const OUTBOX = 128 * KIB;

function numberOf(data: unknown): number {
  return Number.parseInt(typeof data === 'string' ? data : (data as { n: string }).n, 10);
}

for (const door of DOORS) {
  for (const isTidings of [false, true]) {
    const mode = isTidings ? 'tidings.1' : 'plain mode';
    // The doors differ on this side of the store.
    const onStores = door === 'WebSocket' || door === 'SockJS polling' ? onEachStore : onMemory;

    onStores(
      `over a thin line long messages arrive, transients meanwhile, by ${door} in ${mode}`,
      async (broker) => {
        // On a busy machine, too, the line passes on in this time as much as the kernel takes at once.
        const limits = { outbox: OUTBOX, message: 4096 * KIB, stall: 3000 };
        const thin = await startBehindThinLine({ broker: broker(), limits });
        const { push, line, port } = thin;
        line.rate = 1000 * KIB;
        const page = await AnyPage.open(door, isTidings, port, 'slow');
        const transients = setInterval(() => void push.notify('slow', 'transient').catch(() => {}), 100);
        // The first takes longer than a page may take nothing, and the next is what waits for it.
        for (const size of [4000, 200]) await push.send('slow', `${size} ${'x'.repeat(size * KIB)}`);
        const all = () => page.data.filter((data) => data !== 'transient').map(numberOf);
        await until('all of it', () => all().length >= 2 || page.closeCode !== undefined, 50_000);
        clearInterval(transients);
        assert.deepEqual([all(), page.closeCode], [[4000, 200], undefined]);
        page.close();
        await thin.close();
      },
    );

    onStores(
      `a page that stops for a while has all in order, once, by ${door} in ${mode}`,
      async (broker) => {
        const thin = await startBehindThinLine({ broker: broker(), limits: { outbox: OUTBOX } });
        const { push, port } = thin;
        const page = await AnyPage.open(door, isTidings, port, 'slow', isTidings ? { topics: ['news'] } : {});
        page.pause();
        const [session] = push.localSessions();
        let most = 0;
        let n = 0;
        // Until nothing more is taken off the server's hands, and on.
        for (let beyond = 0; beyond < 60; n++) {
          await push.send('slow', `${n} ${'x'.repeat(16 * KIB)}`);
          if (isTidings) await push.publish('news', `${n} ${'x'.repeat(16 * KIB)}`);
          most = Math.max(most, session!.bufferedAmount);
          if (most > OUTBOX) beyond++;
        }
        // SockJS quotes, and what is for many at once comes in batches of up to 64 KiB.
        assert.ok(most < OUTBOX + 6 * 17 * KIB, `${most} bytes waited`);
        page.resume();
        const streams = isTidings ? ['inbox', 'news'] : ['inbox'];
        const of = (stream: string): number[] =>
          (isTidings ? page.of('message').filter(({ channel }) => channel === stream) : page.data).map(
            (each) => numberOf(isTidings ? (each as { data: unknown }).data : each),
          );
        const isAll = () => streams.every((stream) => of(stream).length >= n) || page.closeCode !== undefined;
        await until('all of it', isAll, 50_000);
        for (const stream of streams)
          assert.deepEqual(
            of(stream),
            Array.from({ length: n }, (_, i) => i),
          );
        // And it is live again.
        await push.send('slow', `${n}`);
        await until('one more', () => of('inbox').length === n + 1);
        assert.equal(page.closeCode, undefined);
        page.close();
        await thin.close();
      },
    );
  }
}

v8.setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

function memory(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const STALLED = 100;
const MESSAGE = 32 * KIB;

for (const door of DOORS) {
  for (const isTidings of [false, true]) {
    const what = isTidings ? 'a topic, tidings.1' : 'inboxes, plain mode';
    test(`${STALLED} stalled pages hold an outbox and a message each, and are closed with 4430 in the end (${door}, ${what})`, {
      timeout: 60_000,
    }, async () => {
      const thin = await startBehindThinLine({
        limits: { outbox: OUTBOX, message: MESSAGE, stall: 2000, sessionsPerUser: 0 },
        retention: { inbox: { maxMessages: 10 }, topic: { maxMessages: 10 } },
        sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
      });
      const { push, path } = thin;
      const user = (i: number): string => (isTidings ? `u${i}` : 'everybody');
      const hello = isTidings ? { topics: ['news'] } : {};
      const pages = await Promise.all(
        Array.from({ length: STALLED }, (_, i) => AnyPage.open(door, isTidings, path, user(i), hello)),
      );
      const bystander = await AnyPage.open(
        'WebSocket',
        isTidings,
        path,
        isTidings ? 'b' : 'everybody',
        hello,
      );
      for (const page of pages) page.pause();
      const before = memory();
      let most = 0;
      // What the kernel takes of each, and three outboxes more. All of it is more than 60 MB.
      for (let n = 0; n < 25; n++) {
        const data = `${n} ${'x'.repeat(MESSAGE - 100)}`;
        await (isTidings ? push.publish('news', data) : push.send('everybody', data));
        await until('it is passed on', () => bystander.data.length === n + 1);
        for (const { bufferedAmount } of push.localSessions()) most = Math.max(most, bufferedAmount);
      }
      const grown = memory() - before;
      // SockJS's frames are a little longer.
      const each = OUTBOX + MESSAGE + 4 * KIB;
      assert.ok(most <= each, `${most} bytes waited for one`);
      // The pages are in this process, too.
      assert.ok(grown < STALLED * each + 16_000_000, `grew by ${grown} bytes`);
      const stalled = [...push.localSessions()].filter(({ isFull }) => isFull);
      assert.equal(stalled.length, STALLED);
      await until(
        'all to be closed',
        () => stalled.every(({ transport }) => transport.readyState > 1),
        30_000,
      );
      // They may still read why.
      for (const page of pages) page.resume();
      await until('all to be told', () => pages.every(({ closeCode }) => closeCode !== undefined));
      assert.deepEqual(new Set(pages.map(({ closeCode }) => closeCode)), new Set([4430]));
      assert.equal(bystander.closeCode, undefined);
      for (const page of [...pages, bystander]) page.close();
      await thin.close();
    });
  }
}

async function fill(push: PushServer, user: string): Promise<Session> {
  const session = [...push.localSessions()].find((each) => each.user === user)!;
  for (let n = 0; !session.isFull; n++) await push.send(user, `${n} ${'x'.repeat(16 * KIB)}`);
  return session;
}

for (const isTidings of [false, true]) {
  const mode = isTidings ? 'tidings.1' : 'plain mode';

  test(`who asks on and on and never reads the answers is closed before its time (${mode})`, async () => {
    const { push, path, close } = await startBehindThinLine({
      limits: { outbox: OUTBOX, messagesPerSecond: 0, bytesPerSecond: 0 },
    });
    const page = await AnyPage.open('WebSocket', isTidings, path, 'asks');
    page.pause();
    const session = await fill(push, 'asks');
    let most = 0;
    while (session.transport.readyState === 1) {
      for (let i = 0; i < 200; i++) void page.say(isTidings ? { type: 'ping' } : 'ping');
      await new Promise((resolve) => setImmediate(resolve));
      most = Math.max(most, session.bufferedAmount);
    }
    assert.ok(most < 2 * OUTBOX + 32 * KIB, `${most} bytes waited`);
    page.resume();
    await until('its end', () => page.closeCode !== undefined);
    assert.equal(page.closeCode, 4430);
    await close();
  });

  test(`what is for all is dropped for who is behind, and comes again when it has caught up (${mode})`, async () => {
    const { push, path, close } = await startBehindThinLine({ limits: { outbox: OUTBOX } });
    const page = await AnyPage.open('WebSocket', isTidings, path, 'slow');
    const other = await AnyPage.open('WebSocket', isTidings, path, 'other');
    page.pause();
    const session = await fill(push, 'slow');
    const waiting = session.bufferedAmount;
    for (let n = 0; n < 30; n++) {
      await push.broadcast(`lost ${n} ${'x'.repeat(16 * KIB)}`);
      await until('it elsewhere', () => JSON.stringify(other.received.at(-1) ?? '').includes(`lost ${n} `));
    }
    assert.equal(session.bufferedAmount, waiting);
    page.resume();
    await until('it to have caught up', () => !session.isFull);
    await push.broadcast('again');
    const texts = (): string => JSON.stringify(page.received);
    await until('it', () => texts().includes('again'));
    assert.ok(!texts().includes('lost'));
    assert.equal(page.closeCode, undefined);
    for (const each of [page, other]) each.close();
    await close();
  });

  test(`messages by reference keep their order for a page that falls behind (${mode})`, async () => {
    const { push, path, close } = await startBehindThinLine({
      limits: { outbox: OUTBOX },
      references: {
        resolve: async (key) => {
          await new Promise((resolve) => setImmediate(resolve));
          return { user: 'slow', data: `${key} ${'x'.repeat(16 * KIB)}` };
        },
      },
    });
    const page = await AnyPage.open('WebSocket', isTidings, path, 'slow');
    page.pause();
    const [session] = push.localSessions();
    let n = 0;
    for (let beyond = 0; beyond < 20; n++) {
      if (n % 2 === 0) await push.sendReference('slow', String(n));
      else await push.send('slow', `${n} ${'x'.repeat(16 * KIB)}`);
      await new Promise((resolve) => setImmediate(resolve));
      if (session!.isFull) beyond++;
    }
    page.resume();
    await until('all of it', () => page.data.length >= n || page.closeCode !== undefined);
    assert.deepEqual(
      page.data.map(numberOf),
      Array.from({ length: n }, (_, i) => i),
    );
    page.close();
    await close();
  });
}

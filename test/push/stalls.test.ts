/** The process itself stands still for a while: no page is to blame for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../support/net.ts';
import { Page, startPush } from './support.ts';
import { AnyPage, startBehindThinLine } from './thin-line.ts';

const KIB = 1024;
/** Longer than a page may say or take nothing here, which is longer than the second between two sweeps. */
const STALL = 4500;
const LIMIT = 3500;

function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL);
}

test('a hello that came during a stall is heard before its page is closed, and who has said none is closed', async () => {
  const { push, url } = await startPush({ limits: { helloTimeout: LIMIT } });
  const page = new Page(url, 'alice', ['tidings.1']);
  const silent = new Page(url, 'bob', ['tidings.1']);
  await until('both', () => push.stats().sessions === 2);
  page.say({ type: 'hello' });
  standStill();
  await page.frame('welcome');
  assert.equal(await silent.ended(), 4408);
  assert.equal(page.socket.readyState, 1);
  page.socket.close();
  await push.close();
});

for (const door of ['WebSocket', 'SockJS polling'] as const) {
  test(`a page that takes something during a stall is not closed for it, and who takes nothing is, by ${door}`, async () => {
    const { push, path, close } = await startBehindThinLine({
      limits: { outbox: 128 * KIB, stall: LIMIT },
      sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
    });
    const users = ['slow', 'dead'];
    const pages = await Promise.all(users.map((user) => AnyPage.open(door, false, path, user)));
    const [slow, dead] = pages as [AnyPage, AnyPage];
    for (const page of pages) page.pause();
    const sessions = [...push.localSessions()];
    for (const { user } of sessions) {
      for (let n = 0; n < 40; n++) await push.send(user, `${n} ${'x'.repeat(16 * KIB)}`);
    }
    assert.ok(sessions.every(({ isFull }) => isFull));
    slow.resume();
    standStill();
    await until('all of it', () => slow.data.length === 40 || slow.closeCode !== undefined);
    assert.equal(slow.closeCode, undefined);
    const stuck = sessions.find(({ user }) => user === 'dead')!;
    await until('the end of the other', () => stuck.transport.readyState > 1);
    dead.resume();
    await until('that it is told', () => dead.closeCode !== undefined);
    assert.equal(dead.closeCode, 4430);
    for (const page of pages) page.close();
    await close();
  });
}

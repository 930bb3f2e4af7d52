/** What is waited for within a time counts if it was there in time, whenever this process came to see it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { inTime, isIn, TimeoutError, within } from '../src/waiting.ts';

/** Two ends of a connection. */
async function connected(t: TestContext): Promise<[Socket, Socket]> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const near = dial((server.address() as AddressInfo).port, '127.0.0.1');
  const [[far]] = (await Promise.all([once(server, 'connection'), once(near, 'connect')])) as [[Socket], []];
  t.after(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return [near, far];
}

function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test('an answer that came while the process stood still is not late', async (t) => {
  const [near, far] = await connected(t);
  const answer = once(near, 'data').then(String);
  const waits = [inTime(100, answer), within(100, answer), isIn(answer, 100)];
  far.write('yes');
  standStill(300);
  assert.deepEqual(await Promise.all(waits), ['yes', 'yes', true]);
});

test('what does not come is late, also for a process that stood still', async (t) => {
  const [near] = await connected(t);
  const answer = once(near, 'data').then(String);
  const waits = [assert.rejects(inTime(20, answer), TimeoutError), within(20, answer), isIn(answer, 20)];
  standStill(50);
  assert.deepEqual(await Promise.all(waits), [undefined, undefined, false]);
});

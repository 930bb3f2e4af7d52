import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { arm, disarm, type Expirable } from '../../src/server/deadlines.ts';
import { until } from '../support/net.ts';
import { listen } from './support.ts';

// Deadlines are unref'd: something else has to keep the process going while a test waits.
const alive = setInterval(() => {}, 1000);
test.after(() => clearInterval(alive));

class Item implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly name: string;
  readonly log: string[];
  expiredAt = 0;

  constructor(name: string, log: string[]) {
    this.name = name;
    this.log = log;
  }

  expire(): void {
    this.log.push(this.name);
    this.expiredAt = performance.now();
  }
}

test('items expire when they are due, whatever the order in which they were armed', async () => {
  const log: string[] = [];
  const began = performance.now();
  const [slow, quick, middle, quickToo] = [300_000, 20, 300, 20].map((ms, i) => {
    const item = new Item(String(i), log);
    arm(item, ms);
    return item;
  }) as [Item, Item, Item, Item];
  await until('all but the slow one', () => log.length === 3);
  disarm(slow);
  // In this order also where a machine has slept until all three were due.
  assert.deepEqual(log, ['1', '3', '2']);
  for (const item of [quick, quickToo]) assert.ok(item.expiredAt - began >= 10);
  assert.ok(middle.expiredAt - began >= 290);
});

test('a disarmed item does not expire, one armed again expires once', async () => {
  const log: string[] = [];
  const [off, again, last] = ['off', 'again', 'last'].map((name) => new Item(name, log));
  arm(off!, 20);
  arm(again!, 20);
  disarm(off!);
  disarm(off!);
  arm(again!, 30);
  arm(last!, 80);
  await until('the last', () => log.includes('last'));
  assert.deepEqual(log, ['again', 'last']);
});

test('an item may arm itself again when it expires', async () => {
  const log: string[] = [];
  class Repeated extends Item {
    override expire(): void {
      super.expire();
      if (log.length < 3) arm(this, 15);
    }
  }
  arm(new Repeated('x', log), 15);
  await until('three times', () => log.length === 3);
});

test('a deadline does not keep the process going', () => {
  const item = new Item('', []);
  const before = process.getActiveResourcesInfo().length;
  arm(item, 30_000);
  assert.equal(process.getActiveResourcesInfo().length, before);
  disarm(item);
});

test('no limit is no limit, not a millisecond', async () => {
  const log: string[] = [];
  const items = [Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 40].map((ms) => {
    const item = new Item(String(ms), log);
    arm(item, ms);
    return item;
  });
  const last = new Item('last', log);
  arm(last, 50);
  await until('the last', () => log.length > 0);
  assert.deepEqual(log, ['last']);
  for (const item of items) disarm(item);
});

test('what came in time while the process stood still is in time', async () => {
  const { port } = await listen({ handshakeTimeout: 1000, closeTimeout: 1000 });
  const flag = new Int32Array(new SharedArrayBuffer(4));
  for (const first of ['', 'GET / HTTP/1.1\r\nHost: h\r\n']) {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    if (first !== '') socket.write(first);
    // The server has accepted it, and has read what there was.
    for (let i = 0; i < 20; i++) await new Promise(setImmediate);
    let answer = '';
    socket.on('data', (chunk) => (answer += chunk.toString('latin1')));
    socket.on('error', () => {});
    const rest = `${first === '' ? 'GET / HTTP/1.1\r\nHost: h\r\n' : ''}Upgrade: websocket\r\nConnection: Upgrade\r\n`;
    socket.write(`${rest}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'a'.repeat(22)}==\r\n\r\n`);
    Atomics.wait(flag, 0, 0, 1500);
    await until('an answer, or the end', () => answer.includes('\r\n') || socket.destroyed);
    assert.match(answer, /^HTTP\/1\.1 101 /, first);
    socket.destroy();
  }
});

test('a deadline comes also where nothing else happens', () => {
  const program = `
    import { createServer } from 'node:net';
    import { arm } from ${JSON.stringify(new URL('../../src/server/deadlines.ts', import.meta.url).href)};
    createServer().listen(0, '127.0.0.1');
    arm({ deadline: null, expire: () => process.exit(0) }, 20);`;
  const { status, stderr } = spawnSync(
    process.execPath,
    [...process.execArgv, '--input-type=module', '-e', program],
    {
      encoding: 'utf8',
      timeout: 15_000,
    },
  );
  assert.equal(status, 0, stderr);
});

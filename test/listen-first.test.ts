import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { listenFirst } from '../src/listen-first.ts';

/** Keeps an event from the listeners, and notes that it was here. */
function taker(log: string[], name: string, takes = false) {
  return (event: string | symbol): boolean => {
    log.push(`${name}:${String(event)}`);
    return takes;
  };
}

test('the latest look comes first, and one that takes an event keeps it from all others', () => {
  const server = new EventEmitter();
  const log: string[] = [];
  server.on('x', () => log.push('listener'));
  const first = listenFirst(server, taker(log, 'first'));
  const second = listenFirst(server, taker(log, 'second', true));
  assert.equal(server.emit('x'), true);
  second();
  assert.equal(server.emit('x'), true);
  first();
  assert.equal(server.emit('x'), true);
  assert.deepEqual(log, ['second:x', 'first:x', 'listener', 'listener']);
  assert.equal(Object.hasOwn(server, 'emit'), false);
});

test('a look is over when it is undone, in whichever order, also under the wrapper of somebody else', () => {
  for (const order of ['012', '021', '102', '120', '201', '210']) {
    const server = new EventEmitter();
    const own = server.emit.bind(server);
    server.emit = own;
    const log: string[] = [];
    const undo = [listenFirst(server, taker(log, '0')), listenFirst(server, taker(log, '1'))];
    const { emit } = server;
    const wrapper: typeof emit = (event, ...args) => Reflect.apply(emit, server, [event, ...args]);
    server.emit = wrapper;
    undo.push(listenFirst(server, taker(log, '2')));
    const left = new Set(['0', '1', '2']);
    for (const each of order) {
      undo[Number(each)]!();
      undo[Number(each)]!();
      left.delete(each);
      log.length = 0;
      server.emit('x');
      assert.deepEqual(log.map((line) => line[0]).sort(), [...left].sort());
    }
    assert.equal(server.emit, wrapper);
  }
});

test('coming and going does not wrap a server deeper and deeper', () => {
  const server = new EventEmitter();
  const undoLast = listenFirst(server, () => false);
  const { emit } = server;
  server.emit = function (...args) {
    return Reflect.apply(emit, this, args);
  };
  for (let i = 0; i < 20_000; i++) {
    const [first, second] = [listenFirst(server, () => false), listenFirst(server, () => false)];
    first();
    second();
  }
  undoLast();
  let count = 0;
  server.on('x', () => count++);
  server.emit('x');
  assert.equal(count, 1);
});

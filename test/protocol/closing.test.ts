/** RFC 6455 §7 without a socket. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOSING, Closing, OPEN } from '../../src/protocol/closing.ts';
import { ProtocolError } from '../../src/protocol/errors.ts';

test('§7.1.2: we begin: one close frame, the end when the peer has answered', () => {
  const closing = new Closing();
  assert.equal(closing.state, OPEN);
  assert.equal(closing.begin(1001, 'bye')?.toString('latin1'), '\x03\xe9bye');
  assert.equal(closing.state, CLOSING);
  assert.equal(closing.begin(1000), undefined);
  closing.isSent = true;
  assert.equal(closing.isComplete, false);
  assert.equal(closing.receive(1001, 'bye'), undefined);
  assert.deepEqual(
    [closing.isComplete, closing.wasClean, closing.code, closing.reason],
    [true, true, 1001, 'bye'],
  );
});

test('§5.5.1: the peer begins: its code and reason come back, and the connection is complete once they are sent', () => {
  const closing = new Closing();
  assert.equal(closing.receive(4001, 'é')?.toString('hex'), '0fa1c3a9');
  assert.equal(closing.isDeaf, true);
  assert.equal(closing.isComplete, false);
  closing.isSent = true;
  assert.equal(closing.isComplete, true);
  assert.equal(closing.begin(), undefined);
});

test('§7.1.5: a close frame without a code is answered without one, and is 1005', () => {
  const closing = new Closing();
  assert.equal(closing.receive(1005, '')?.length, 0);
  assert.equal(closing.code, 1005);
});

test('§7.1.5: without a close frame of the peer’s it is 1006', () => {
  const closing = new Closing();
  closing.begin(1000);
  closing.isSent = true;
  closing.lose();
  assert.deepEqual([closing.code, closing.wasClean], [1006, false]);
});

test('§7.1.7: a peer that breaks the protocol gets the error’s code, and nothing more is read', () => {
  const closing = new Closing();
  assert.equal(closing.fail(new ProtocolError('x', 'WS_ERR_X', 1002))?.readUInt16BE(0), 1002);
  assert.equal(closing.isDeaf, true);
  assert.equal(closing.code, 1006);
  closing.isSent = true;
  assert.equal(closing.isComplete, true);
});

test('a code or reason that can’t be sent changes nothing', () => {
  for (const [code, reason] of [
    [1005, ''],
    [1006, ''],
    [999, ''],
    [5000, ''],
    [1000.5, ''],
    [1000, 'x'.repeat(124)],
    [1000, Buffer.from([0xff])],
  ] as const) {
    const closing = new Closing();
    assert.throws(() => closing.begin(code, reason));
    assert.equal(closing.state, OPEN);
    assert.equal(closing.begin(1000)?.length, 2);
  }
});

test('what we gave up with is what it ended with, unless the peer’s own close frame comes', () => {
  const closing = new Closing();
  assert.equal(closing.giveUp(4408, 'heartbeat timeout')?.readUInt16BE(0), 4408);
  assert.deepEqual([closing.code, closing.reason], [4408, 'heartbeat timeout']);
  closing.receive(1001, '');
  closing.giveUp(4408, 'late');
  assert.deepEqual([closing.code, closing.reason], [1001, '']);
});

test('a reason that was not checked for UTF-8 is answered with what can be sent of it', () => {
  const reason = Buffer.alloc(123, 0xff).toString();
  const answer = new Closing().receive(1000, reason);
  assert.ok(answer!.length <= 125);
  assert.equal(answer!.readUInt16BE(0), 1000);
});

test('§5.5.3: the newest ping is the one that is owed a pong, once, and none behind our close frame', () => {
  const closing = new Closing();
  assert.equal(closing.takePong(), null);
  closing.owePong(Buffer.from('1'));
  closing.owePong(Buffer.from('2'));
  assert.equal(String(closing.takePong()), '2');
  assert.equal(closing.takePong(), null);
  closing.owePong(Buffer.from('3'));
  closing.begin(1000);
  assert.equal(closing.takePong(), null);
});

/** RESP2, cut at every place: what is read must not depend on how the bytes come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCommand } from '../../src/pubsub/resp-encoder.ts';
import { RespReader, type RespReply, type RespSink } from '../../src/pubsub/resp-reader.ts';

type Event = ['reply', RespReply] | ['error', string] | ['message', string, string, string, string];

class Recorder implements RespSink {
  readonly events: Event[] = [];
  readonly buffers: boolean;
  constructor(buffers = false) {
    this.buffers = buffers;
  }
  reply(value: RespReply): void {
    this.events.push(['reply', value]);
  }
  replyError(message: string): void {
    this.events.push(['error', message]);
  }
  wantsBuffers(): boolean {
    return this.buffers;
  }
  message(kind: string, channel: string, bytes: Buffer, start: number, end: number, pattern: string): void {
    this.events.push(['message', kind, channel, bytes.toString('utf8', start, end), pattern]);
  }
}

/** Feeds `bytes` in pieces of `size` through one buffer that is overwritten after each, as a socket's is. */
function readInPieces(bytes: Buffer, size: number, sink: Recorder, isSubscriber: boolean, limit = 1 << 20) {
  const reader = new RespReader(sink, limit);
  reader.isSubscriber = isSubscriber;
  const chunk = Buffer.alloc(size);
  for (let at = 0; at < bytes.length; at += size) {
    const length = bytes.copy(chunk, 0, at, Math.min(bytes.length, at + size));
    reader.read(chunk, length);
    chunk.fill('!');
  }
}

const REPLIES =
  '+OK\r\n:1\r\n:-42\r\n$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n-WRONGTYPE no\r\n' +
  '*3\r\n$1\r\na\r\n*2\r\n:7\r\n$-1\r\n*1\r\n*1\r\n+deep\r\n$8\r\n\r\n$4\r\nxy\r\n$6\r\ngr\u00fc\u00df\r\n+\r\n*2\r\n-ERR in\r\n:9007199254740991\r\n';

const MESSAGES =
  '*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nfirst\r\n' +
  '*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n*3\r\n$7\r\nmessage\r\n$6\r\n你好\r\n$9\r\n*3\r\n$7\r\nm\r\n' +
  '*4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\ncd\r\n$3\r\nabc\r\n*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n$2\r\nhi\r\n' +
  '*2\r\n$4\r\npong\r\n$0\r\n\r\n*3\r\n$12\r\nsunsubscribe\r\n$1\r\ns\r\n:0\r\n*3\r\n$7\r\nmessage\r\n$2\r\nxx\r\n$1\r\n1\r\n';

test('replies of every type are the same however they are cut', () => {
  const expected = new Recorder();
  readInPieces(Buffer.from(REPLIES), 4096, expected, false);
  assert.deepEqual(
    expected.events.map(([kind]) => kind).join(' '),
    'reply reply reply reply reply reply reply reply error reply reply reply reply reply',
  );
  assert.deepEqual(expected.events[9], ['reply', ['a', [7, null], [['deep']]]]);
  assert.deepEqual(expected.events[10], ['reply', '\r\n$4\r\nxy']);
  for (let size = 1; size <= 64; size++) {
    const recorder = new Recorder();
    readInPieces(Buffer.from(REPLIES), size, recorder, false);
    assert.deepEqual(recorder.events, expected.events, `in pieces of ${size}`);
  }
});

test('replies as Buffers are copies that outlive the read buffer', () => {
  for (const size of [1, 7, 4096]) {
    const recorder = new Recorder(true);
    readInPieces(
      Buffer.from('$5\r\nhello\r\n*2\r\n$1\r\n\xff\r\n*1\r\n$2\r\nab\r\n', 'latin1'),
      size,
      recorder,
      false,
    );
    assert.deepEqual(recorder.events, [
      ['reply', Buffer.from('hello')],
      ['reply', [Buffer.from([0xff]), [Buffer.from('ab')]]],
    ]);
  }
});

test('pub/sub messages of every kind are the same however they are cut', () => {
  const expected: Event[] = [
    ['reply', ['subscribe', 'c', 1]],
    ['message', 'message', 'c', 'first', ''],
    ['message', 'message', 'c', '', ''],
    ['message', 'message', '你好', '*3\r\n$7\r\nm', ''],
    ['message', 'pmessage', 'cd', 'abc', 'c*'],
    ['message', 'smessage', 's', 'hi', ''],
    ['reply', ['pong', '']],
    ['reply', ['sunsubscribe', 's', 0]],
    ['message', 'message', 'xx', '1', ''],
  ];
  for (let size = 1; size <= 200; size++) {
    const recorder = new Recorder();
    readInPieces(Buffer.from(MESSAGES), size, recorder, true);
    assert.deepEqual(recorder.events, expected, `in pieces of ${size}`);
  }
});

test('a reply of many megabytes in small pieces is put together', () => {
  const value = Buffer.alloc(3_000_000, 'abcdefg');
  const recorder = new Recorder(true);
  readInPieces(
    Buffer.concat([Buffer.from(`*2\r\n$${value.length}\r\n`), value, Buffer.from('\r\n:1\r\n+x\r\n')]),
    65536,
    recorder,
    false,
    4 << 20,
  );
  assert.equal(recorder.events.length, 2);
  assert.ok(value.equals((recorder.events[0]![1] as Buffer[])[0]!));
});

test('a reply over the limit is refused as soon as its length is known', () => {
  for (const bytes of [
    '$2000\r\n',
    '*1\r\n$2000\r\n',
    `+${'x'.repeat(1100)}`,
    `*2000\r\n${':1\r\n'.repeat(400)}`,
  ]) {
    assert.throws(() => readInPieces(Buffer.from(bytes), 100, new Recorder(), false, 1000), {
      code: 'REDIS_PROTOCOL',
      message: /over the limit of 1000 \(maxReplySize\)/,
    });
  }
});

test('what is not RESP2 is refused', () => {
  for (const bytes of ['HTTP/1.1 400 Bad Request\r\n', '*1\r\n!\r\n', '%1\r\n+a\r\n+b\r\n']) {
    assert.throws(() => readInPieces(Buffer.from(bytes), 9, new Recorder(), false), {
      code: 'REDIS_PROTOCOL',
    });
  }
});

test('nesting deeper than the stack is refused, not a crash', () => {
  const bytes = Buffer.from(`${'*1\r\n'.repeat(100_000)}:1\r\n`);
  assert.throws(() => readInPieces(bytes, 65536, new Recorder(), false), { code: 'REDIS_PROTOCOL' });
});

test('commands are encoded byte for byte, whatever their arguments', () => {
  const cases: [(string | number | Uint8Array)[], string][] = [
    [['PING'], '*1\r\n$4\r\nPING\r\n'],
    [['SET', 'k', ''], '*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n'],
    [['GET', 'ü'], '*2\r\n$3\r\nGET\r\n$2\r\n\xc3\xbc\r\n'],
    [['X', 12345, -1.5], '*3\r\n$1\r\nX\r\n$5\r\n12345\r\n$4\r\n-1.5\r\n'],
    [['X', Uint8Array.of(0, 13, 10, 255)], '*2\r\n$1\r\nX\r\n$4\r\n\0\r\n\xff\r\n'],
    [['X', 'a'.repeat(200)], `*2\r\n$1\r\nX\r\n$200\r\n${'a'.repeat(200)}\r\n`],
    [['X', `${'a'.repeat(99)}é`], `*2\r\n$1\r\nX\r\n$101\r\n${'a'.repeat(99)}\xc3\xa9\r\n`],
    [new Array(120).fill('a'), `*120\r\n${'$1\r\na\r\n'.repeat(120)}`],
  ];
  for (const [args, expected] of cases) assert.equal(encodeCommand(args).toString('latin1'), expected);
});

/** RESP2, cut at every place: what is read must not depend on how the bytes come. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeCommand } from '../../../src/pubsub/redis/resp-encoder.ts';
import { RespReader, type RespReply, type RespSink } from '../../../src/pubsub/redis/resp-reader.ts';

type Event =
  | ['too long', string]
  | ['reply', RespReply]
  | ['error', string]
  | ['message', string, string, string, string];

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
  replyTooLong(): void {
    this.events.push(['too long', '']);
  }
  messageTooLong(kind: string, name: string): void {
    this.events.push(['too long', `${kind} ${name}`]);
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
  const reader = new RespReader(sink, { maxReplySize: limit });
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

test('a reply over the limit is passed over, however it is cut, and those around it are not', () => {
  const long = [
    `$2000\r\n${'y'.repeat(2000)}\r\n`,
    `*1\r\n$2000\r\n${'*1\r\n'.repeat(500)}\r\n`,
    `+${'x'.repeat(1100)}\r\n`,
    `*2000\r\n${':1\r\n'.repeat(2000)}`,
    `*3\r\n*2\r\n$3\r\nabc\r\n$-1\r\n$5000\r\n${'\r\n'.repeat(2500)}\r\n*1\r\n*0\r\n`,
  ];
  for (const bytes of long) {
    for (const size of [1, 2, 3, 7, 100, 999, 1000, 1001, 65536]) {
      const recorder = new Recorder();
      readInPieces(Buffer.from(`+a\r\n${bytes}+b\r\n${bytes}:1\r\n`), size, recorder, false, 1000);
      const expected = [
        ['reply', 'a'],
        ['too long', ''],
        ['reply', 'b'],
        ['too long', ''],
        ['reply', 1],
      ];
      assert.deepEqual(recorder.events, expected, `${bytes.slice(0, 10)} in pieces of ${size}`);
    }
  }
});

test('a message over the limit is passed over and told by its channel', () => {
  const payload = `$3000\r\n${'*3\r\n'.repeat(750)}\r\n`;
  const bytes =
    `*3\r\n$7\r\nmessage\r\n$2\r\nc1\r\n${payload}*3\r\n$7\r\nmessage\r\n$2\r\nc2\r\n$1\r\nx\r\n` +
    `*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\npq\r\n${payload}*3\r\n$8\r\nsmessage\r\n$1\r\ns\r\n${payload}`;
  for (const size of [50, 100, 999, 1000, 1001, 65536]) {
    const recorder = new Recorder();
    readInPieces(Buffer.from(bytes), size, recorder, true, 1000);
    assert.deepEqual(recorder.events, [
      ['too long', 'message c1'],
      ['message', 'message', 'c2', 'x', ''],
      ['too long', 'pmessage p*'],
      ['too long', 'smessage s'],
    ]);
  }
});

test('a reader that refused what came reads the next connection', () => {
  const recorder = new Recorder();
  const reader = new RespReader(recorder, { maxReplySize: 1 << 20 });
  for (const bytes of [`${'*1\r\n'.repeat(100_000)}:1\r\n`, '$-5\r\n', '*1\r\n!', '*2\r\n+a\r\n']) {
    const chunk = Buffer.from(bytes);
    try {
      reader.read(chunk, chunk.length);
    } catch (error) {
      assert.equal((error as { code: string }).code, 'REDIS_PROTOCOL');
    }
    reader.reset();
    reader.read(Buffer.from('+fine\r\n'), 7);
    assert.deepEqual(recorder.events.splice(0), [['reply', 'fine']]);
  }
});

test('what is not RESP2 is refused', () => {
  const bad = [
    'HTTP/1.1 400 Bad Request\r\n',
    '*1\r\n!\r\n',
    '%1\r\n+a\r\n+b\r\n',
    '$-5\r\n',
    '$-\r\n',
    '$\r\n\r\n',
    '$1e3\r\n',
    '*-2\r\n',
    '*2x\r\n',
    ':\r\n',
    ':1.5\r\n',
    '$3\r\nabcd\r\n',
    '+a\rb\r\n',
  ];
  for (const bytes of bad) {
    for (const size of [1, 9, 100]) {
      for (const isSubscriber of [false, true]) {
        assert.throws(
          () => readInPieces(Buffer.from(bytes), size, new Recorder(), isSubscriber),
          { code: 'REDIS_PROTOCOL' },
          JSON.stringify(bytes),
        );
      }
    }
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

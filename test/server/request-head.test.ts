import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RequestHead, RequestHeadError, RequestHeadReader } from '../../src/server/request-head.ts';
import { countWork } from '../support/work.ts';

const LINES =
  'GET /a?b=c HTTP/1.1\r\nHost: example.com\r\nX-One:  1 \t\r\nx-one: 2\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n';

function read(text: string, limits = {}): RequestHead {
  const head = new RequestHeadReader(limits).read(Buffer.from(text, 'latin1'));
  assert.ok(head, 'the head is complete');
  return head;
}

function status(text: string, limits = {}): number {
  try {
    new RequestHeadReader(limits).read(Buffer.from(text, 'latin1'));
  } catch (error) {
    assert.ok(error instanceof RequestHeadError, String(error));
    return error.status;
  }
  return 0;
}

test('RFC 9112 §3, §5: method, target, version and fields, duplicates as node:http has them', () => {
  const head = read(LINES);
  assert.equal(head.method, 'GET');
  assert.equal(head.url, '/a?b=c');
  assert.equal(head.httpVersion, '1.1');
  assert.equal(head.headers.host, 'example.com');
  assert.equal(head.headers['x-one'], '1, 2');
  assert.equal(head.headers.cookie, 'a=1; b=2');
  assert.deepEqual(head.rawHeaders.slice(0, 4), ['Host', 'example.com', 'X-One', '1']);
});

test('any cut of the bytes gives the same head, and what came behind it', () => {
  const whole = Buffer.from(`${LINES}rest`);
  for (let cut = 1; cut < whole.length; cut++) {
    const reader = new RequestHeadReader();
    let head = reader.read(whole.subarray(0, cut));
    let rest = head === undefined ? '' : String(reader.rest) + whole.subarray(cut);
    if (head === undefined) {
      head = reader.read(whole.subarray(cut));
      rest = String(reader.rest);
    }
    assert.deepEqual(head?.rawHeaders, read(LINES).rawHeaders, `cut at ${cut}`);
    assert.equal(rest, 'rest', `cut at ${cut}`);
  }
});

test('a head that comes byte by byte is the same', () => {
  const reader = new RequestHeadReader();
  let head: RequestHead | undefined;
  for (const byte of Buffer.from(LINES)) head = reader.read(Buffer.from([byte]));
  assert.equal(head?.headers['x-one'], '1, 2');
});

test('RFC 9112 §2.2: one empty line before the request line is ignored', () => {
  assert.equal(read(`\r\n${LINES}`).method, 'GET');
});

for (const [what, text] of Object.entries({
  'space before the colon (RFC 9112 §5.1)': 'GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n',
  'a folded field (RFC 9112 §5.2)': 'GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n',
  'a bare LF as a line end': 'GET / HTTP/1.1\nHost: a\r\n\r\n',
  'a bare LF in a value': 'GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n',
  'a bare CR in a value': 'GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n',
  'a NUL in a value': 'GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n',
  'a NUL in the target': 'GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n',
  'no colon': 'GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n',
  'an empty name': 'GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n',
  'two spaces in the request line': 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n',
  'no target': 'GET HTTP/1.1\r\nHost: a\r\n\r\n',
  'a target with a space': 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n',
  'no Host (RFC 9112 §3.2)': 'GET / HTTP/1.1\r\n\r\n',
  'two Hosts (RFC 9112 §3.2)': 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
  'two keys': 'GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: a\r\nSec-WebSocket-Key: b\r\n\r\n',
  'a Host that holds a path (RFC 9112 §3.2)': 'GET / HTTP/1.1\r\nHost: a/b\r\n\r\n',
  'a Host of two words (RFC 9112 §3.2)': 'GET / HTTP/1.1\r\nHost: a b\r\n\r\n',
  'a Host with a user (RFC 9112 §3.2)': 'GET / HTTP/1.1\r\nHost: a@b\r\n\r\n',
  'a target that is no path and no address (RFC 9112 §3.2)': 'GET chat HTTP/1.1\r\nHost: a\r\n\r\n',
  'a length and a coding (RFC 9112 §6.3)':
    'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n',
  'a coding that is not chunked at its end (RFC 9112 §6.3)':
    'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n',
  'a coding that only ends like chunked': 'GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n',
  'nothing but empty lines': '\r\n\r\n',
  'a TLS record': '\x16\x03\x01\x02\x00\x01\x00',
  'a NUL': '\0',
  markup: '<policy-file-request/>\0',
})) {
  test(`400: ${what}`, () => assert.equal(status(text), 400));
}

for (const length of ['x', '0x0', '', '+0', '-0', '-1', '1e0', '0.0', '0, 0', '0 0', '9'.repeat(30)]) {
  test(`400 (RFC 9110 §8.6): Content-Length: ${length || '(empty)'}`, () => {
    assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\nContent-Length: ${length}\r\n\r\n`), 400);
  });
}

test('a body is announced in the head, however it is framed', () => {
  for (const field of ['Content-Length: 0', 'Content-Length: 5', 'Transfer-Encoding: gzip, Chunked']) {
    assert.equal(status(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\nhello`), 0, field);
  }
});

test('400 at the first byte of what is no request, without waiting for more', () => {
  assert.equal(status('\x80'), 400);
});

test('505: another version than HTTP/1', () => {
  assert.equal(status('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 505);
  assert.equal(status('GET / HTTP/3.0\r\nHost: a\r\n\r\n'), 505);
});

test('414: a request line of more than 8 KiB, ended or not', () => {
  assert.equal(status(`GET /${'a'.repeat(9000)} HTTP/1.1\r\nHost: a\r\n\r\n`), 414);
  assert.equal(status(`GET /${'a'.repeat(9000)}`), 414);
});

test('maxHeadBytes is the limit of the request line as well', () => {
  const line = (bytes: number): string => `GET /${'a'.repeat(bytes - 14)} HTTP/1.1\r\n`;
  const fields = 'Host: a\r\n\r\n';
  for (const bytes of [9_000, 20_000, 65_000]) {
    assert.equal(status(line(bytes) + fields, { maxHeadBytes: 65_536 }), 0, `${bytes}`);
  }
  assert.equal(status(line(70_000) + fields, { maxHeadBytes: 65_536 }), 414);
  assert.equal(status(line(70_000).slice(0, 65_537), { maxHeadBytes: 65_536 }), 414);
  assert.equal(status(`${line(65_000)}Host: ${'a'.repeat(600)}\r\n\r\n`, { maxHeadBytes: 65_536 }), 431);
  assert.equal(status(line(5_000) + fields, { maxHeadBytes: 4_096 }), 414);
});

test('a head byte by byte costs work in proportion to its length', () => {
  const work = (bytes: number): number => {
    const text = Buffer.from(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(bytes)}\r\n\r\n`);
    const reader = new RequestHeadReader({ maxHeadBytes: 1_000_000 });
    const count = countWork();
    let head: RequestHead | undefined;
    for (let i = 0; i < text.length; i++) head = reader.read(text.subarray(i, i + 1));
    const total = count.stop();
    assert.equal(head?.headers['x']?.length, bytes);
    return total / text.length;
  };
  const small = work(10_000);
  const large = work(160_000);
  assert.ok(large < 2 * small, `${small} bytes looked at for each byte, then ${large}`);
});

test('431: more bytes or more fields than allowed, ended or not', () => {
  assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`), 431);
  assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(17_000)}`), 431);
  assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\n${'X: 1\r\n'.repeat(100)}\r\n`), 431);
  assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\n\r\n`, { maxHeadBytes: 20 }), 431);
  assert.equal(status(`GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\r\n`, { maxHeadFields: 1 }), 431);
});

test('a field named like a member of Object.prototype is a field', () => {
  const { headers } = read('GET / HTTP/1.1\r\nHost: a\r\n__proto__: x\r\nconstructor: y\r\n\r\n');
  assert.deepEqual(Object.entries(headers).slice(1), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  assert.equal(headers['toString'], undefined);
  assert.equal(({} as Record<string, unknown>)['x'], undefined);
});

test('a head of many fields is read in time that grows no faster than its length', () => {
  // Counted in bytes looked at by the pattern, this would take minutes if it were quadratic.
  const many = `GET / HTTP/1.1\r\nHost: a\r\n${`X:${' '.repeat(60_000)}1\r\n`.repeat(100)}\r\n`;
  assert.equal(
    read(many, { maxHeadBytes: 10_000_000, maxHeadFields: 1000 }).headers['x']?.length,
    100 * 3 - 2,
  );
});

/** Slow is not dead: frames of a session at another instance, on their way to a page over a thin line. */
import assert from 'node:assert/strict';
import { request as plainRequest } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { Duplex, Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { MemoryStore, memoryBroker, redisBroker } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { startBehindThinLine, type ThinLine } from '../push/thin-line.ts';
import { certificates, type Kind, SERVERS } from '../support/http-servers.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';

const KB = 1000;

let count = 0;

/** One poll of one session, which may be read slowly or not at all. */
class Poll {
  text = '';
  isEnded = false;
  isBroken = false;
  readonly close: () => void;

  constructor(kind: Kind, port: number, path: string) {
    if (kind === 'HTTP/2') {
      const session = http2.connect(`http://127.0.0.1:${port}`);
      session.on('error', () => {});
      const stream = session.request({ ':method': 'POST', ':path': path });
      stream.end();
      this.#read(stream);
      stream.on('close', () => session.close());
      this.close = () => stream.close(http2.constants.NGHTTP2_CANCEL);
    } else {
      const ask = kind === 'TLS' ? https.request : plainRequest;
      const where = { host: '127.0.0.1', port, path, method: 'POST', ca: certificates.ca };
      const asked = ask({ ...where, agent: false }, (response) => this.#read(response));
      asked.on('error', () => {
        this.isBroken = true;
      });
      asked.end();
      this.close = () => asked.destroy();
    }
  }

  #read(body: Readable): void {
    body.setEncoding('utf8');
    body.on('data', (text: string) => {
      this.text += text;
    });
    body.on('end', () => {
      this.isEnded = true;
    });
    body.on('error', () => {});
    body.on('close', () => {
      this.isBroken = !this.isEnded || this.text.at(-1) !== '\n';
    });
  }
}

interface Instances {
  /** Has the session. */
  left: ThinLine;
  /** Polls come here. */
  right: ThinLine;
  /** Of the session. */
  path: string;
  /** How many polls the right one has not ended yet. */
  waiting(): number;
}

async function start(kind: Kind, broker: () => Broker, disconnectDelay: number): Promise<Instances> {
  const options = (instance: string) => ({
    instance,
    broker: broker(),
    sockjs: { prefix: '/sockjs', disconnectDelay },
  });
  const left = await startBehindThinLine(options('left'));
  const server = SERVERS[kind]();
  let waiting = 0;
  const watch = (each: Duplex): void => {
    waiting++;
    each.once('close', () => waiting--);
  };
  if (kind === 'HTTP/2')
    server.on('session', (session: http2.ServerHttp2Session) => session.on('stream', watch));
  else server.on('connection', watch);
  const right = await startBehindThinLine(options('right'), { server });
  const path = `/sockjs/000/slow${count++}/xhr?user=alice`;
  const opening = new Poll('HTTP/1.1', left.port, path);
  await until('the session', () => opening.isEnded);
  assert.equal(opening.text, 'o\n');
  return { left, right, path, waiting: () => waiting };
}

function onMemory(): () => Broker {
  const store = new MemoryStore();
  return () => memoryBroker(store);
}

describe('frames that another instance writes', { concurrency: true }, () => {
  const comes = async (kind: Kind, broker: () => Broker, letter: string): Promise<void> => {
    // 1.6 s for what comes at once.
    const { left, right, path } = await start(kind, broker, 2000);
    right.line.rate = 200 * KB;
    const poll = new Poll(kind, right.port, path);
    const text = letter.repeat(Math.ceil((900 * KB) / Buffer.byteLength(letter)));
    await left.push.send('alice', text);
    await until('all of it', () => poll.isEnded || poll.isBroken);
    assert.equal(poll.text.length, text.length + 'a[""]\n'.length);
    const next = new Poll(kind, right.port, path);
    await left.push.send('alice', 'next');
    await until('the next', () => next.isEnded || next.isBroken);
    assert.equal(next.text, 'a["next"]\n');
    assert.equal(left.push.stats().sessions, 1);
    await left.close();
    await right.close();
  };

  for (const kind of Object.keys(SERVERS) as Kind[]) {
    test(`${kind}: a long one arrives over a thin line, and the session lives on`, () =>
      comes(kind, onMemory(), 'x'));

    test(`${kind}: a page that goes away in the middle of one ends the session before its time`, async () => {
      const { left, right, path } = await start(kind, onMemory(), 60_000);
      right.line.rate = 100 * KB;
      const poll = new Poll(kind, right.port, path);
      await left.push.send('alice', 'x'.repeat(900 * KB));
      await until('some of it', () => poll.text.length > 10 * KB);
      poll.close();
      await until('the end', () => left.push.stats().sessions === 0, 30_000);
      const last = new Poll(kind, right.port, path);
      await until('why', () => last.isEnded);
      assert.equal(last.text, 'c[1002,"Connection interrupted"]\n');
      await left.close();
      await right.close();
    });

    test(`${kind}: who takes nothing of one is cut after what it takes over the slowest line`, {
      timeout: 120_000,
    }, async () => {
      const { left, right, path, waiting } = await start(kind, onMemory(), 2000);
      const poll = new Poll(kind, right.port, path.replace('xhr', 'xhr_streaming'));
      await until('the beginning of the response', () => poll.text.length > 0);
      assert.equal(waiting(), 1);
      const release = right.line.stall();
      // More than a Unix socket keeps.
      await left.push.send('alice', 'x'.repeat(300 * KB));
      await until('the end', () => left.push.stats().sessions === 0, 60_000);
      await until('it to be cut off', () => waiting() === 0);
      release();
      await until('the end of its response', () => poll.isBroken);
      assert.ok(poll.text.length < 300 * KB);
      await left.close();
      await right.close();
    });
  }

  test('a long one with characters of three bytes each arrives, too', () =>
    comes('HTTP/1.1', onMemory(), '語'));

  test('a long one arrives by Redis, too', needs('redis'), async () => {
    const redis = await startRedis();
    await comes('HTTP/1.1', () => redisBroker(redis.url), 'x');
    await redis.stop();
  });
});

/** Slow is not dead, by the responses of SockJS: over HTTP/1.1, TLS and HTTP/2, and wherever what they say waits. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import type { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { certificates, type Kind, SERVERS } from '../support/http-servers.ts';
import { until } from '../support/net.ts';
import { startBehindThinLine } from './thin-line.ts';

const KB = 1000;

const TRANSPORTS = {
  xhr: 'POST',
  xhr_streaming: 'POST',
  eventsource: 'GET',
  htmlfile: 'GET',
  jsonp: 'GET',
};

/** The beginning of a close frame, however it is wrapped. */
const CLOSE = 'c[';
const MARKS = [CLOSE, 'first', 'second'];

/** Elements may ask for it only in pages of the same origin. */
const OF_A_PAGE = { 'sec-fetch-site': 'same-origin' };

/** What a page reads, response after response, as it comes. */
class Reader {
  readonly seen = new Set<string>();
  /** Is called with each chunk. */
  onData = (): void => {};
  /** The last of what has come. */
  rest = '';
  readonly #kind: Kind;
  readonly #port: number;
  readonly #method: string;
  readonly #path: string;
  readonly #session: http2.ClientHttp2Session | undefined;
  #response: Readable | undefined;
  #isPaused = false;

  constructor(kind: Kind, port: number, transport: keyof typeof TRANSPORTS) {
    this.#kind = kind;
    this.#port = port;
    this.#method = TRANSPORTS[transport];
    this.#path = `/sockjs/000/${transport}/${transport}?user=${transport}&c=cb`;
    if (kind === 'HTTP/2') {
      // The window that browsers give: what waits does so on this side of it.
      const settings = { initialWindowSize: 6 * 2 ** 20 };
      this.#session = http2.connect(`http://127.0.0.1:${port}`, { settings });
      this.#session.on('connect', () => this.#session?.setLocalWindowSize(6 * 2 ** 20));
      this.#session.on('error', () => {});
    }
    this.#ask();
  }

  /** Reads nothing more. */
  pause(): void {
    this.#isPaused = true;
    this.#response?.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#response?.resume();
  }

  close(): void {
    this.#isPaused = true;
    this.#response?.destroy();
    this.#session?.destroy();
  }

  #ask(): void {
    const [method, path] = [this.#method, this.#path];
    if (this.#session !== undefined) {
      const stream = this.#session.request({ ':method': method, ':path': path, ...OF_A_PAGE });
      stream.end();
      this.#read(stream);
      return;
    }
    const ask = this.#kind === 'TLS' ? https.request : request;
    const where = { host: '127.0.0.1', port: this.#port, ca: certificates.ca, agent: false as const };
    const asked = ask({ ...where, method, path, headers: OF_A_PAGE }, (response) => this.#read(response));
    asked.on('error', () => {});
    asked.end();
  }

  #read(response: Readable): void {
    this.#response = response;
    response.setEncoding('utf8');
    response.on('error', () => {});
    response.on('data', (text: string) => {
      const recent = this.rest + text;
      for (const mark of MARKS) if (recent.includes(mark)) this.seen.add(mark);
      this.rest = recent.slice(-100);
      this.onData();
    });
    response.on('end', () => {
      if (!this.#isPaused && !this.seen.has(CLOSE)) this.#ask();
    });
    if (this.#isPaused) response.pause();
  }
}

function readers(kind: Kind, port: number): Map<string, Reader> {
  const transports = Object.keys(TRANSPORTS) as (keyof typeof TRANSPORTS)[];
  return new Map(transports.map((transport) => [transport, new Reader(kind, port, transport)]));
}

describe('responses that leave slowly', { concurrency: true }, () => {
  for (const kind of Object.keys(SERVERS) as Kind[]) {
    for (const isTcp of [false, true]) {
      const where = isTcp ? 'in the kernel' : 'in this process';
      const way = () => ({ server: SERVERS[kind](), isTcp });

      test(`${kind}: while a page reads a long message, it is seen to take something, waiting ${where}`, async () => {
        const thin = await startBehindThinLine({ limits: { outbox: 128 * KB } }, way());
        thin.line.rate = 500 * KB;
        const pages = readers(kind, thin.port);
        await until('all to be open', () => [...thin.push.localSessions()].length === pages.size);
        const falls = new Map<string, number>();
        for (const { user, transport } of thin.push.localSessions()) {
          const page = pages.get(user)!;
          let last = 0;
          page.onData = () => {
            const { backlog } = transport;
            if (backlog < last && !page.seen.has('first')) falls.set(user, (falls.get(user) ?? 0) + 1);
            last = backlog;
          };
          await thin.push.send(user, `${'x'.repeat(900 * KB)} first`);
          await thin.push.send(user, `${'x'.repeat(200 * KB)} second`);
        }
        await until('all of it', () => [...pages.values()].every(({ seen }) => seen.has('second')));
        for (const [transport, page] of pages) {
          assert.deepEqual([...page.seen], ['first', 'second'], transport);
          assert.ok((falls.get(transport) ?? 0) > 1, `${transport}: ${falls.get(transport)} times`);
          page.close();
        }
        await thin.close();
      });

      test(`${kind}: who takes nothing of it is closed with 4430, and may read that, waiting ${where}`, async () => {
        const thin = await startBehindThinLine(
          {
            limits: { outbox: 16 * KB, stall: 1000 },
            sockjs: { prefix: '/sockjs', disconnectDelay: 60_000 },
          },
          way(),
        );
        const pages = readers(kind, thin.port);
        await until('all to be open', () => [...thin.push.localSessions()].length === pages.size);
        const sessions = [...thin.push.localSessions()];
        for (const page of pages.values()) page.pause();
        for (const user of pages.keys()) {
          for (let n = 0; n < 8; n++) await thin.push.send(user, 'x'.repeat(40 * KB));
        }
        await until('all to be closed', () => sessions.every(({ transport }) => transport.readyState > 1));
        for (const page of pages.values()) page.resume();
        await until('all to be told', () => [...pages.values()].every(({ seen }) => seen.has(CLOSE)));
        for (const [transport, page] of pages) {
          assert.match(page.rest, /c\[4430/, transport);
          page.close();
        }
        await thin.close();
      });
    }
  }
});

/**
 * A test framework that replaces timers stops its own program's clock, and nothing that is on its way to a peer:
 * timers are taken when tidings is loaded (src/clock.ts).
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mock, test } from 'node:test';
import FakeTimers from '@sinonjs/fake-timers';
import { memoryBroker } from '../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../src/pubsub/store/redis-broker.ts';
import { PreparedMessage, WebSocket, type WebSocketServer } from '../../src/ws.ts';
import { type Running, startPush } from '../push/support.ts';
import { client as httpClient, type Service, session, startSockJs } from '../sockjs/support.ts';
import { until } from '../support/net.ts';
import { needs, typescript } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { cleanUp, listen } from './support.ts';

const { nextTick } = process;

type SinonMethod = NonNullable<NonNullable<Parameters<typeof FakeTimers.install>[0]>['toNotFake']>[number];

function sinon(toNotFake: SinonMethod[]): () => () => void {
  return () => {
    const clock = FakeTimers.install({ toNotFake });
    return () => clock.uninstall();
  };
}

/**
 * Each replaces timers, and returns what puts them back. Where process.nextTick is replaced, Node itself makes no
 * connection and answers no request.
 */
const FRAMEWORKS: Record<string, () => () => void> = {
  "node:test's mock.timers, all": () => {
    mock.timers.enable();
    return () => mock.timers.reset();
  },
  "sinon's, all but nextTick, as vitest": sinon(['nextTick']),
  "sinon's, all, as Jest": sinon([]),
};

/** All that the other side has got, as text. */
class Mailbox {
  readonly got: string[] = [];
  readonly client: WebSocket;

  constructor(client: WebSocket) {
    this.client = client;
    client.on('message', (data) => this.got.push(data.toString()));
  }

  static async open(url: string, options: object = {}): Promise<Mailbox> {
    const box = new Mailbox(new WebSocket(url, options));
    cleanUp(() => box.client.terminate());
    await until('an open connection', () => box.client.readyState === WebSocket.OPEN);
    return box;
  }

  /** Exactly these, in this order, and no more. */
  async takes(what: string, expected: string[]): Promise<void> {
    await until(what, () => this.got.length >= expected.length);
    assert.deepEqual(this.got.splice(0), expected, what);
  }
}

interface World {
  wss: WebSocketServer;
  url: string;
  ours: WebSocket[];
  pages: Mailbox[];
  /** What the server has got from whichever page. */
  inbox: string[];
}

async function world(options: object): Promise<World> {
  const { wss, url } = await listen(options);
  const inbox: string[] = [];
  wss.on('connection', (ws) => {
    ws.subscribe('news');
    ws.on('message', (data) => inbox.push(data.toString()));
  });
  const pages = [await Mailbox.open(url), await Mailbox.open(url), await Mailbox.open(url)];
  await until('all are connected', () => wss.clients!.size === 3);
  return { wss, url, ours: [...wss.clients!], pages, inbox };
}

const LONG = 'It is long enough to be compressed elsewhere. '.repeat(10_000);

/** Both sides of a new connection. */
async function pair({ wss, url }: World): Promise<[WebSocket, WebSocket]> {
  const connected = once(wss, 'connection');
  const { client } = await Mailbox.open(url);
  const [ws] = (await connected) as [WebSocket];
  return [client, ws];
}

/** @param pairs two connections to be closed */
async function exercise(
  { wss, ours, pages, inbox }: World,
  when: string,
  pairs: [WebSocket, WebSocket][],
): Promise<void> {
  const to = (name: string): string[] => [1, 2, 3].map((n) => `${when} ${name} ${n}`);
  const allTake = (name: string, expected: string[]) =>
    Promise.all(pages.map((page) => page.takes(`${name}, ${when}`, expected)));

  for (const ws of ours) for (const text of to('in a turn')) ws.send(text);
  await allTake('messages in a turn', to('in a turn'));

  pages[0]!.client.on('message', function answer() {
    pages[0]!.client.off('message', answer);
    for (const text of to('of a listener')) pages[0]!.client.send(text);
  });
  for (const ws of ours) ws.send('go');
  await allTake('go', ['go']);
  await until('what a listener sends', () => inbox.length >= 3);
  assert.deepEqual(inbox.splice(0), to('of a listener'));

  for (const text of to('broadcast')) wss.broadcast(text);
  for (const text of to('published')) wss.publish('news', text);
  for (const text of to('prepared')) wss.broadcast(new PreparedMessage(text));
  await allTake('broadcasts', [...to('broadcast'), ...to('published'), ...to('prepared')]);

  for (const ws of ours) {
    ws.send(LONG);
    ws.send(new Blob(['from a blob']));
    ws.send('behind it');
  }
  await allTake('long messages and Blobs', [LONG, 'from a blob', 'behind it']);
  for (const { client } of pages) {
    client.send(LONG);
    client.send(new Blob(['from a blob']));
  }
  await until('long messages to the server', () => inbox.length >= 6);
  inbox.splice(0);

  const pongs: string[] = [];
  for (const ws of ours) {
    ws.once('pong', (data) => pongs.push(data.toString()));
    ws.ping(when);
  }
  await until('pongs', () => pongs.length === ours.length);

  for (const [at, [client, ws]] of pairs.entries()) {
    const codes: number[] = [];
    for (const each of [ws, client]) each.on('close', (code) => codes.push(code));
    (at === 0 ? client : ws).close(4001, 'bye');
    await until(`both sides of a closing handshake, ${when}`, () => codes.length === 2);
    assert.deepEqual(codes, [4001, 4001]);
  }
}

for (const [framework, replace] of Object.entries(FRAMEWORKS)) {
  for (const [what, options] of Object.entries({
    'on plain connections': {},
    'on compressed connections': { perMessageDeflate: { threshold: 0 } },
    'on compressed connections with contexts': {
      perMessageDeflate: { threshold: 0, serverNoContextTakeover: false, clientNoContextTakeover: false },
    },
  })) {
    test(`${framework}: all that is sent ${what} arrives, during and after`, async () => {
      const here = await world(options);
      const pairs = async () => [await pair(here), await pair(here)];
      await exercise(here, 'before', await pairs());
      const early = await pairs();
      const restore = replace();
      try {
        // Node tells the end of a socket through process.nextTick.
        await exercise(here, 'during', process.nextTick === nextTick ? early : []);
        if (process.nextTick === nextTick) await exercise(here, 'with new ones', await pairs());
      } finally {
        restore();
      }
      await exercise(here, 'after', await pairs());
    });
  }

  test(`${framework}: what is sent in the very turn in which they come and go arrives`, async () => {
    const here = await world({});
    const send = (text: string) => {
      for (const ws of here.ours) {
        ws.send(`${text} 1`);
        ws.send(`${text} 2`);
      }
      here.wss.broadcast(`${text} 3`);
    };
    send('before');
    const restore = replace();
    send('during');
    restore();
    send('after');
    const expected = ['before', 'during', 'after'].flatMap((text) => [1, 2, 3].map((n) => `${text} ${n}`));
    for (const page of here.pages) await page.takes('all of a turn', expected);
  });

  test(`${framework}: SockJS, over its own transports and over WebSocket`, async () => {
    const service: Service = await startSockJs();
    const http = httpClient(service.port);
    const path = session();
    const stream = await http.openPost(`${path}/xhr_streaming`);
    cleanUp(() => stream.close());
    const raw = await Mailbox.open(`ws://127.0.0.1:${service.port}/echo/websocket`);
    const read = (what: string) => until(what, () => stream.wire.received.includes(what));
    const talk = async (when: string): Promise<void> => {
      raw.client.send(when);
      raw.client.send(`${when} again`);
      await raw.takes('the echo', [when, `${when} again`]);
      if (process.nextTick !== nextTick) return;
      const sent = await http.post(`${path}/xhr_send`, { body: JSON.stringify([`${when} 1`, `${when} 2`]) });
      assert.equal(sent.status, 204);
      await read(`${when} 1`);
      await read(`${when} 2`);
      const poll = session();
      assert.equal((await http.post(`${poll}/xhr`)).body, 'o\n');
      assert.equal((await http.post(`${poll}/xhr_send`, { body: '["x"]' })).status, 204);
      assert.equal((await http.post(`${poll}/xhr`)).body, 'a["x"]\n');
    };
    await talk('before');
    const restore = replace();
    try {
      await talk('during');
    } finally {
      restore();
    }
    await talk('after');
  });

  const pushes = async (start: () => Promise<Running[]>): Promise<void> => {
    const instances = await start();
    const pages = await Promise.all(instances.map(({ url }) => Mailbox.open(`${url}?user=alice`)));
    const talk = async (when: string): Promise<void> => {
      const expected: string[] = [];
      for (const { push } of instances) {
        for (const n of [1, 2, 3]) {
          const text = `${when} ${n}`;
          await push.send('alice', text);
          expected.push(text);
        }
      }
      for (const page of pages) await page.takes(`what is pushed ${when}`, expected);
      if (process.nextTick !== nextTick) return;
      for (const { url } of instances) {
        const late = await Mailbox.open(`${url}?user=${when}`);
        await instances[0]!.push.send(when, 'to a new page');
        await late.takes(`a new page ${when}`, ['to a new page']);
        late.client.close();
        await until('its end', () => late.client.readyState === WebSocket.CLOSED);
      }
    };
    await talk('before');
    const restore = replace();
    try {
      await talk('during');
    } finally {
      restore();
    }
    await talk('after');
  };

  test(`${framework}: push, with the memory broker`, async () => {
    await pushes(async () => [await startPush({ broker: memoryBroker() })]);
  });

  test(`${framework}: push, two instances over Redis`, needs('redis'), async () => {
    const redis = await startRedis();
    const running: Running[] = [];
    try {
      await pushes(async () => {
        for (let n = 0; n < 2; n++) running.push(await startPush({ broker: redisBroker(redis.url) }));
        return running;
      });
    } finally {
      await Promise.all(running.map(({ push }) => push.close()));
      await redis.stop();
    }
  });
}

for (const [what, toNotFake] of Object.entries({ 'all but nextTick': ['nextTick'], all: [] })) {
  test(`sinon's fakes, ${what}, that are there when tidings is loaded, stop nothing, then or later`, () => {
    const program = `
      import FakeTimers from '@sinonjs/fake-timers';
      import { once } from 'node:events';
      const clock = FakeTimers.install({ toNotFake: ${JSON.stringify(toNotFake)} });
      const { WebSocket, WebSocketServer } = await import(${JSON.stringify(new URL('../../src/ws.ts', import.meta.url).href)});
      async function talk(when) {
        const wss = new WebSocketServer({ port: 0, perMessageDeflate: { threshold: 0 } });
        wss.on('connection', (ws) => ws.on('message', (data) => {
          for (const n of [1, 2, 3]) ws.send(data + n);
          wss.broadcast('all');
          ws.send('x'.repeat(500_000));
        }));
        await once(wss, 'listening');
        const ws = new WebSocket('ws://127.0.0.1:' + wss.address().port);
        const got = [];
        ws.on('message', (data) => { if (got.push(data.length) === 5) ws.close(); });
        await once(ws, 'open');
        ws.send(when);
        await once(ws, 'close');
        console.log(when, got.join());
        await new Promise((resolve) => wss.close(resolve));
      }
      if (${toNotFake.length > 0}) await talk('during');
      clock.uninstall();
      await talk('after');
    `;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [...typescript, '--input-type=module', '-e', program],
      {
        encoding: 'utf8',
        timeout: 120_000,
      },
    );
    const during = toNotFake.length > 0 ? ['during 7,7,7,3,500000'] : [];
    assert.deepEqual(stdout.trim().split('\n'), [...during, 'after 6,6,6,3,500000'], stderr);
  });
}

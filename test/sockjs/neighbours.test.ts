/** Two instances, and requests that come to either in turn: no sticky balancing anywhere. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fallbackTransport } from '../../src/client/fallback.ts';
import { Client } from '../../src/client/index.ts';
import { MemoryStore, memoryBroker, redisBroker } from '../../src/index.ts';
import type { Broker } from '../../src/pubsub/store/broker.ts';
import { PushServer, type PushServerOptions, queryUser } from '../../src/push/index.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { startRedis } from '../support/redis.ts';
import { client, session } from './support.ts';

async function startPair(t: TestContext, kind: 'memory' | 'Redis', options: PushServerOptions = {}) {
  const { broker, stop } = await brokers(kind);
  const instances = await Promise.all(
    ['left', 'right'].map(async (instance) => {
      const push = new PushServer({
        port: 0,
        host: '127.0.0.1',
        instance,
        sockjs: { prefix: '/echo', disconnectDelay: 60_000 },
        broker: broker(),
        interceptors: [queryUser('user')],
        log: () => {},
        ...options,
      });
      await push.ready;
      const { port } = push.address() as AddressInfo;
      return { push, port, http: client(port) };
    }),
  );
  t.after(async () => {
    await Promise.all(instances.map(({ push }) => push.close()));
    // Not before: without their store they would take their time.
    await stop();
  });
  return instances as [(typeof instances)[0], (typeof instances)[0]];
}

/** Passes each request to the next of the ports, as a balancer without memory does. */
async function startRoundRobin(
  t: TestContext,
  ports: number[],
): Promise<Server & { counts: number[]; ports: number[] }> {
  const counts = ports.map(() => 0);
  let next = 0;
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => {
    const index = next++ % ports.length;
    counts[index]!++;
    const { method, url: path, headers } = request;
    const target = { host: '127.0.0.1', port: ports[index], method, path, headers, agent: false };
    const passed = httpRequest(target, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
      answer.on('aborted', () => response.destroy());
    });
    passed.on('error', () => response.destroy());
    response.on('close', () => passed.destroy());
    request.pipe(passed);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return Object.assign(server, { counts, ports });
}

async function brokers(
  kind: 'memory' | 'Redis',
): Promise<{ broker: () => Broker; stop: () => Promise<void> | void }> {
  if (kind === 'memory') {
    const store = new MemoryStore();
    return { broker: () => memoryBroker(store), stop: () => {} };
  }
  const redis = await startRedis();
  return { broker: () => redisBroker(redis.url), stop: () => redis.stop() };
}

/** Whatever JSON, or none, in place of what instances say to each other. */
const JUNK: string[] = [
  ...['null', '0', '1', '"x"', '[]', '[null]', '{}', 'true', '', '{', '\u0000', '[[[[[['],
  ...['send', 'tooLong', 'receive', 'taken', 'gone', 'answer', 'constructor', '__proto__', 7].flatMap(
    (type) => [
      JSON.stringify({ type }),
      JSON.stringify({ type, from: null, n: 1 }),
      JSON.stringify({ type, from: 'right', n: 1 }),
      JSON.stringify({ type, from: 'right', n: 'x', id: 'x', messages: ['x'] }),
      JSON.stringify({ type, from: {}, n: 1, id: 'x', messages: ['x'], ok: true, frame: 'a["x"]' }),
      JSON.stringify({ type, from: 'right', n: 1, id: null, messages: null, ok: 1, frame: 1 }),
      JSON.stringify({ type, from: 'right', n: 1, id: 'x', messages: [1, null, {}], ok: true, frame: {} }),
      JSON.stringify({ type, from: 'right', n: 1, id: 'x', messages: { length: 1e9 }, ok: true }),
      JSON.stringify({ type, from: '\n', n: 1e300, id: 'x', messages: ['x'] }),
      JSON.stringify({ type, from: 'right', n: 1, id: '__proto__', messages: ['x'] }),
    ],
  ),
];

for (const kind of ['memory', 'Redis'] as const) {
  const needed = kind === 'Redis' ? needs('redis') : {};

  test(`${kind}: whatever a program says on an instance's channel ends nothing`, needed, async (t) => {
    const { broker, stop } = await brokers(kind);
    const push = new PushServer({
      port: 0,
      host: '127.0.0.1',
      instance: 'left',
      sockjs: { prefix: '/echo', disconnectDelay: 60_000 },
      broker: broker(),
      interceptors: [queryUser('user')],
      log: () => {},
    });
    await push.ready;
    const outside = broker();
    await outside.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
    t.after(async () => {
      await push.close();
      await outside.close();
      await stop();
    });
    const { post } = client((push.address() as AddressInfo).port);
    const path = session();
    assert.equal((await post(`${path}/xhr?user=alice`)).body, 'o\n');
    for (const channel of ['sockjs\nleft', 'instance\nleft']) {
      for (const junk of JUNK) await outside.notify(channel, Buffer.from(junk));
      await outside.notify(channel, Buffer.from([0xff, 0xfe, 0x00]));
    }
    await push.send('alice', 'still there');
    await until('it comes', async () => (await post(`${path}/xhr?user=alice`)).body.includes('still there'));
  });

  test(
    `${kind}: what is too long for a session at the other instance ends it with 1009`,
    needed,
    async (t) => {
      const [left, right] = await startPair(t, kind, { limits: { message: 1000, subscriptions: 1 } });
      const path = session();
      assert.equal((await left.http.post(`${path}/xhr?user=alice`)).body, 'o\n');
      const body = JSON.stringify(['x'.repeat(100_000)]);
      // Somebody else's does not.
      assert.equal((await right.http.post(`${path}/xhr_send?user=bob`, { body })).status, 413);
      assert.equal((await right.http.post(`${path}/xhr_send?user=alice`, { body: '["ping"]' })).status, 204);
      assert.match((await left.http.post(`${path}/xhr?user=alice`)).body, /^a\["hb_ok"\]/);
      const polled = left.http.post(`${path}/xhr?user=alice`);
      assert.equal((await right.http.post(`${path}/xhr_send?user=alice`, { body })).status, 413);
      assert.match((await polled).body, /^c\[1009,"a message may have \d+ bytes"\]/);
    },
  );

  test(
    `${kind}: who only knows the id of another user's session neither reads nor sends in it, at either instance`,
    needed,
    async (t) => {
      const told: string[] = [];
      const handler = { message: (_session: unknown, data: Buffer) => void told.push(String(data)) };
      const instances = await startPair(t, kind, { proxies: ['127.0.0.1'], handler });
      const [left, right] = instances;
      const at = (address: string, cookie = '') => ({
        headers: { 'X-Forwarded-For': address, ...(cookie !== '' && { Cookie: cookie }) },
      });
      /** How a session is opened, and how strangers try. */
      const cases: [own: [string, ReturnType<typeof at>], strangers: [string, ReturnType<typeof at>][]][] = [
        [
          ['?user=alice', at('192.0.2.1', 'sid=1')],
          [
            ['', at('192.0.2.2', 'sid=1')],
            ['', at('192.0.2.1')],
            ['?user=eve', at('192.0.2.1', 'sid=2')],
            ['?user=eve', at('192.0.2.1', 'sid=1')],
          ],
        ],
        // All from one address, and without cookies: behind a gateway, with the user in the query.
        [
          ['?user=alice&room=1', at('192.0.2.1')],
          [
            ['?user=eve', at('192.0.2.1')],
            ['?user=eve&user=bob', at('192.0.2.1')],
          ],
        ],
      ];
      for (const [[query, parts], strangers] of cases) {
        const path = session();
        await left.http.post(`${path}/xhr${query}`, parts);
        await left.push.send('alice', 'secret');
        for (const [theirs, their] of strangers) {
          const what = JSON.stringify([theirs, their]);
          for (const { http } of instances) {
            const sent = await http.post(`${path}/xhr_send${theirs}`, { ...their, body: '["evil"]' });
            assert.notEqual(sent.status, 204, what);
            for (const poll of ['xhr', 'xhr_streaming']) {
              // Refused, or at the other instance cut.
              const stream = await http.openPost(`${path}/${poll}${theirs}`, their).catch(() => undefined);
              if (stream?.status !== 200) continue;
              const body = await stream.chunk().catch(() => '');
              assert.doesNotMatch(body, /secret/, what);
              stream.close();
            }
          }
        }
        assert.equal(
          (await right.http.post(`${path}/xhr_send${query}`, { ...parts, body: '["own"]' })).status,
          204,
        );
        await until('what the user sends', () => told.includes('own'));
        const read = await right.http.post(`${path}/xhr${query}`, parts);
        assert.equal(read.body, 'a["secret"]\n');
        assert.deepEqual(told, ['own']);
        told.length = 0;
      }
    },
  );

  test(`${kind}: a poll and a send that reach the other instance are passed on`, needed, async (t) => {
    const [left, right] = await startPair(t, kind);
    const path = session();
    assert.equal((await left.http.post(`${path}/xhr?user=alice`)).body, 'o\n');
    await left.push.send('alice', 'one');
    assert.equal((await right.http.post(`${path}/xhr`)).body, 'a["one"]\n');
    assert.equal((await right.http.post(`${path}/xhr_send`, { body: '["ping"]' })).status, 204);
    assert.equal((await left.http.post(`${path}/xhr`)).body, 'a["hb_ok"]\n');
    // A poll that has to wait.
    const waiting = right.http.post(`${path}/xhr`);
    await right.push.send('alice', 'two');
    assert.equal((await waiting).body, 'a["two"]\n');
    // A stream is passed on frame by frame.
    await left.push.send('alice', 'three');
    assert.equal((await right.http.post(`${path}/xhr_streaming`)).body, `${'h'.repeat(2048)}\na["three"]\n`);
    assert.equal((await right.http.post(`${session()}/xhr_send`, { body: '["x"]' })).status, 404);
  });

  test(
    `${kind}: a second receiver is refused, a lost one ends the session, wherever they are`,
    needed,
    async (t) => {
      const [left, right] = await startPair(t, kind);
      const path = session();
      await left.http.post(`${path}/xhr?user=alice`);
      const REFUSED = 'c[2010,"Another connection still open"]\n';
      const waiting = await until('a receiver that waits elsewhere', async () => {
        const stream = await right.http.openPost(`${path}/xhr_streaming`);
        await stream.chunk();
        const passedOn = stream.chunk();
        passedOn.catch(() => {});
        const own = left.http.post(`${path}/xhr`);
        const first = await Promise.race([own.then(({ body }) => [body]), passedOn]);
        if (typeof first !== 'string') {
          assert.deepEqual(first, [REFUSED]);
          return stream;
        }
        // The request here was quicker than the one passed on: let it end.
        assert.equal(first, REFUSED);
        await left.push.send('alice', 'x');
        await own;
        return undefined;
      });
      waiting.close();
      await until('the end of the session', () => left.push.stats().sessions === 0);
      assert.equal((await right.http.post(`${path}/xhr`)).body, 'c[1002,"Connection interrupted"]\n');
    },
  );

  for (const [way, transport] of [
    [0, 'streaming'],
    [1, 'polling'],
  ] as const) {
    test(
      `${kind}: the tidings client gets everything by ${transport} through a round-robin`,
      needed,
      async (t) => {
        const [left, right] = await startPair(t, kind);
        const balancer = await startRoundRobin(t, [left.port, right.port]);
        const { port } = balancer.address() as AddressInfo;
        const storage = new Map([['tidings:transport', JSON.stringify({ way, time: Date.now() })]]);
        const page = new Client({
          url: `http://127.0.0.1:${port}/socketServer`,
          user: 'alice',
          userParameter: 'user',
          transport: fallbackTransport({
            webSocket: undefined,
            endpoint: '/echo',
            storage: {
              getItem: (key) => storage.get(key) ?? null,
              setItem: (key, value) => void storage.set(key, value),
            },
            patience: 20_000,
            retry: 600_000,
          }),
          connectTimeout: 60_000,
        });
        const received: unknown[] = [];
        let opened = 0;
        page.on('message', ({ data }) => void received.push(data));
        page.on('open', () => void opened++);
        t.after(() => page.close());
        await until('a connection', () => page.state.name === 'connected', 60_000);
        for (let i = 0; i < 30; i++) {
          await (i % 2 === 0 ? left : right).push.send('alice', i);
          if (i % 5 === 0) await until('the last one', () => received.length > i, 60_000);
        }
        await until('all mail', () => received.length >= 30, 60_000);
        assert.deepEqual(received, [...Array(30).keys()]);
        await until('the acks', async () => (await left.push.pending('alice')).count === 0, 60_000);
        assert.ok(
          balancer.counts.every((count) => count > 0),
          String(balancer.counts),
        );
        assert.equal(opened, 1);

        // One instance goes, which the balancer notices: the page begins anew at the other, and misses nothing.
        balancer.ports.splice(0, 1);
        await left.push.close();
        for (let i = 30; i < 40; i++) await right.push.send('alice', i);
        await until('the rest', () => received.length >= 40, 120_000);
        assert.deepEqual(received, [...Array(40).keys()]);
      },
    );
  }
}

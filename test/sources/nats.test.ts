/** NATS JetStream as a source, with a real server: what is acknowledged when, in which order, and what can't be stored. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type JetStreamClient, type JetStreamManager, jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { source } from '../../src/index.ts';
import { TcpProxy } from '../../src/prove/proxy.ts';
import { greeted } from '../../src/sources/nats/greeting.ts';
import { loadNats } from '../../src/sources/nats/library.ts';
import { NatsLink } from '../../src/sources/nats/link.ts';
import { type NatsServer, startNats } from '../support/nats.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { numbers, Receiver } from './receiver.ts';

describe('NATS JetStream', { ...needs('nats'), timeout: 240_000 }, () => {
  let server: NatsServer;
  let connection: NatsConnection;
  let js: JetStreamClient;
  let manager: JetStreamManager;
  let count = 0;

  const open = async (): Promise<void> => {
    connection = await connect({ servers: `127.0.0.1:${server.port}` });
    js = jetstream(connection);
    manager = await jetstreamManager(connection);
  };
  before(async () => {
    server = await startNats();
    await open();
  });
  after(async () => {
    await connection?.close();
    await server?.stop();
  });

  /** A stream of the test's own; its subject is its name and `.mail`. */
  async function stream(config: object = {}): Promise<string> {
    const name = `S${++count}`;
    await manager.streams.add({ name, subjects: [`${name}.>`], ...config });
    return name;
  }
  async function publish(name: string, bodies: unknown[]): Promise<void> {
    for (const body of bodies)
      await js.publish(`${name}.mail`, Buffer.isBuffer(body) ? body : JSON.stringify(body));
  }
  const mails = (to: string, from: number, last: number): object[] =>
    numbers(last, from).map((n) => ({ user: to, data: n }));
  const at = (place: string, port = server.port): string => `nats://127.0.0.1:${port}?${place}`;
  const unacked = async (name: string): Promise<number> =>
    (await manager.consumers.info(name, 'tidings')).num_ack_pending;
  async function behind(t: TestContext): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(() => [server.port]);
    t.after(() => proxy.close());
    return proxy;
  }

  test('gives its messages to their users in order, each acknowledged once it is stored', async (t) => {
    const name = await stream();
    await publish(name, [...mails('alice', 1, 300), ...mails('bob', 1, 5)]);
    const receiver = await Receiver.start(t);
    receiver.fault = new Error('the store is away');
    const running = await receiver.from(at(`stream=${name}&ack-wait=1000`), { closeTimeout: 100 });
    assert.equal(running.name, `stream ${name} at 127.0.0.1:${server.port}`);
    await until('messages to wait for the store', () => running.counts.underWay > 100);
    assert.ok((await unacked(name)) > 100);
    await running.close();
    receiver.fault = undefined;
    const again = await receiver.from(at(`stream=${name}`));
    await until('all to be stored', () => again.counts.stored === 305);
    assert.deepEqual(await receiver.stored('alice'), numbers(300));
    await until('all to be acknowledged', async () => (await unacked(name)) === 0);
    await again.close();
  });

  test('is read on in order when the connection is lost, and none is there twice', async (t) => {
    const name = await stream();
    const proxy = await behind(t);
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}&ack-wait=1000`, proxy.port));
    for (let n = 0; n < 4; n++) {
      await publish(name, mails('alice', 1 + n * 100, 50 + n * 100));
      await until('some to be stored', () => running.counts.stored > n * 100 + 10);
      proxy.cut();
      await publish(name, mails('alice', 51 + n * 100, 100 + n * 100));
    }
    await until('all to be stored', () => running.counts.stored === 400);
    assert.deepEqual(await receiver.stored('alice'), numbers(400));
    assert.ok(running.counts.losses > 0);
  });

  test('is read by one instance at a time; what one had who is gone comes before all newer ones', async (t) => {
    const name = await stream();
    const proxies = [await behind(t), await behind(t)];
    const receivers = [await Receiver.start(t), await Receiver.start(t)];
    const instances = await Promise.all(
      proxies.map(({ port }, i) =>
        receivers[i]!.from(at(`stream=${name}&ack-wait=2000`, port), { name: 'both' }),
      ),
    );
    await publish(name, mails('alice', 1, 100));
    const stored = (): number => instances.reduce((sum, { counts }) => sum + counts.stored, 0);
    await until('these', () => stored() === 100);
    const leader = instances.findIndex(({ counts }) => counts.stored === 100);
    const next = 1 - leader;
    assert.ok(leader >= 0, 'one of them has all');
    // It has them, and the store does not take them from it; then it is heard of no more.
    receivers[leader]!.fault = new Error('the store is away');
    await publish(name, mails('alice', 101, 150));
    await until('it to have them', () => instances[leader]!.counts.underWay === 50);
    proxies[leader]!.freeze();
    await publish(name, mails('alice', 151, 200));
    await until('the other to have all', () => instances[next]!.counts.stored === 100);
    assert.deepEqual(await receivers[next]!.stored('alice'), numbers(200, 101));
  });

  test('what somebody else has taken of its consumer, again and again, comes back into its place once he is gone', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}&ack-wait=1000`));
    const other = await js.consumers.get(name, 'tidings');
    let taken = 0;
    const taking = await other.consume({ max_messages: 2, callback: () => void taken++ });
    let last = 0;
    // For longer than it takes until what he had comes again.
    for (const end = performance.now() + 2_500; performance.now() < end; ) {
      last++;
      await Promise.all([publish(name, mails('alice', last, last)), pause(25)]);
      await until('one of them to have it', () => taken + running.counts.stored >= last);
    }
    taking.stop();
    assert.ok(taken > 1);
    await until('all to be stored', () => running.counts.stored === last);
    assert.deepEqual(await receiver.stored('alice'), numbers(last));
  });

  test('a request over a connection that is just being closed fails, and harms nothing else', async (t) => {
    const name = await stream();
    const link = await NatsLink.open(await loadNats(), { servers: `127.0.0.1:${server.port}` }, undefined);
    t.after(() => link.close());
    await link.manager.consumers.add(name, { durable_name: 'tidings', ack_policy: 'explicit' });
    const pull = { stream: name, consumer: 'tidings', messages: 1, bytes: 1_000_000 };
    const closing = link.connection.close();
    const { signal } = new AbortController();
    await assert.rejects(link.pull(pull, () => {}, signal));
    await closing;
    await assert.rejects(link.pull(pull, () => {}, signal));
    // Nothing of it is left that could fail later.
    await pause(2_200);
  });

  test('what can never be stored is in a stream of its own, with its reason', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}`));
    await publish(name, [
      ...mails('alice', 1, 2),
      Buffer.from('nonsense'),
      { user: '', data: 1 },
      ...mails('alice', 3, 4),
    ]);
    await until('all to be dealt with', () => running.counts.stored === 4 && running.counts.dead === 2);
    assert.deepEqual(await receiver.stored('alice'), numbers(4));
    await until('both', async () => {
      const info = await manager.streams.info(`${name}_dead`).catch(() => undefined);
      return info?.state.messages === 2;
    });
    const dead = await manager.streams.getMessage(`${name}_dead`, { seq: 1 });
    assert.equal(dead?.string(), 'nonsense');
    assert.equal(dead?.header.get('Tidings-Reason'), 'the message is not JSON');
    assert.equal(dead?.header.get('Tidings-Subject'), `${name}.mail`);
    await until('all to be acknowledged', async () => (await unacked(name)) === 0);
  });

  test('what can never be stored and is as large as the server takes is cut, as its reason has to go with it', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}`));
    const largest = connection.info!.max_payload;
    await publish(name, [Buffer.alloc(largest, 'x'), ...mails('alice', 1, 1)]);
    await until('the other', () => running.counts.stored === 1);
    const dead = await until('it', () =>
      manager.streams.getMessage(`${name}_dead`, { seq: 1 }).catch(() => undefined),
    );
    assert.equal(dead.header.get('Tidings-Reason'), 'the message is not JSON');
    assert.equal(dead.header.get('Tidings-Bytes'), String(largest));
    assert.ok(dead.data.length > largest - 20_000 && dead.data.every((byte) => byte === 0x78));
    await until('all to be acknowledged', async () => (await unacked(name)) === 0);
    assert.equal(running.counts.losses, 0);
  });

  test('a server that says nothing is hung up on', async (t) => {
    const open = new Set<Socket>();
    const silent = createServer((socket) => {
      open.add(socket.on('close', () => open.delete(socket)).on('error', () => {}));
      socket.resume();
    }).listen(0, '127.0.0.1');
    await once(silent, 'listening');
    t.after(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    await assert.rejects(greeted('127.0.0.1', port, 100), /does not answer/);
    await until('it to be closed', () => open.size === 0);
    await greeted('127.0.0.1', server.port, 10_000);
    await assert.rejects(greeted('127.0.0.1', 1, 10_000), /ECONNREFUSED/);
  });

  test('what is no server of NATS, or stops in the middle of its greeting, keeps no connection', async (t) => {
    const open = new Set<Socket>();
    let greeting = '';
    const other = createServer((socket) => {
      open.add(socket.on('close', () => open.delete(socket)).on('error', () => {}));
      socket.resume().write(greeting);
    }).listen(0, '127.0.0.1');
    await once(other, 'listening');
    t.after(() => other.close());
    const { port } = other.address() as AddressInfo;
    for (const [text, message] of [
      ['HTTP/1.1 400 Bad Request\r\n\r\n', /no NATS server/],
      ['\0'.repeat(4000), /no NATS server/],
      ['IN', /does not answer/],
      ['INFO {"server_id"', /does not answer/],
      [`INFO ${'x'.repeat(2_000_000)}`, /no NATS server/],
    ] as const) {
      greeting = text;
      await assert.rejects(greeted('127.0.0.1', port, text.length < 20 ? 100 : 10_000), message);
      await until('it to be closed', () => open.size === 0);
    }
    greeting = 'HTTP/1.1 400 Bad Request\r\n\r\n';
    const receiver = await Receiver.start(t);
    const running = source(receiver.push, at('stream=S', port));
    running.ready.catch(() => {});
    await until('it to be told', () => receiver.lines.some((line) => /is no NATS server/.test(line)));
    await running.close();
    await until('it to be closed', () => open.size === 0);
  });

  test('headers that the library does not take harm nothing', async (t) => {
    const name = await stream();
    const socket = createConnection(server.port, '127.0.0.1').on('error', () => {});
    t.after(() => socket.destroy());
    socket.write('CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n');
    const lines = ['No Name: x', ': x', 'K\u00fc: x', 'A: a\rb', '__proto__: mine'];
    for (const [i, line] of lines.entries())
      for (const body of [JSON.stringify({ user: 'alice', data: i }), 'nonsense']) {
        const head = Buffer.from(`NATS/1.0\r\n${line}\r\n\r\n`);
        const size = head.length + body.length;
        socket.write(`HPUB ${name}.mail ${head.length} ${size}\r\n${head}${body}\r\n`);
      }
    await until('them', async () => (await manager.streams.info(name)).state.messages === lines.length * 2);
    const receiver = await Receiver.start(t);
    const seen: unknown[] = [];
    const running = await receiver.from(at(`stream=${name}`), {
      map({ body, attributes }) {
        seen.push(attributes['headers']);
        return JSON.parse(body.toString());
      },
    });
    const { length } = lines;
    await until('all', () => running.counts.stored === length && running.counts.dead === length);
    await until('all to be acknowledged', async () => (await unacked(name)) === 0);
    assert.equal(running.counts.losses, 0);
    assert.deepEqual(Object.entries(seen.at(-1) as object), [['__proto__', 'mine']]);
  });

  test('a consumer that hands out each message only so often is told of, and read on when it has given up some', async (t) => {
    const name = await stream();
    await manager.consumers.add(name, {
      durable_name: 'tidings',
      ack_policy: 'explicit',
      max_deliver: 1,
      ack_wait: 1e9,
    });
    await publish(name, mails('alice', 1, 10));
    const others = await js.consumers.get(name, 'tidings');
    for await (const _ of await others.fetch({ max_messages: 3, expires: 1000 })) {
      // It is never acknowledged.
    }
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}`));
    await until('the others', () => running.counts.stored === 7);
    assert.deepEqual(await receiver.stored('alice'), numbers(10, 4));
    assert.equal(receiver.events.filter((event) => event === 'source-messages-endangered').length, 1);
    await publish(name, mails('alice', 11, 12));
    await until('these', () => running.counts.stored === 9);
  });

  test('where no stream takes what can never be stored, it stays, and that is told', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    await receiver.from(at(`stream=${name}&dead-subject=nowhere`));
    await publish(name, [Buffer.from('nonsense')]);
    await until('that to be told', () =>
      receiver.lines.some((line) => line.includes('a dead letter to nowhere fails')),
    );
    await manager.streams.add({ name: `N${count}`, subjects: ['nowhere'] });
    await until('it to be there', async () => (await manager.streams.info(`N${count}`)).state.messages > 0);
  });

  test('a stream of which messages are taken out when they are acknowledged, and a part of it by subject', async (t) => {
    const name = await stream({ retention: 'workqueue' });
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}&subject=${name}.mail`));
    await js.publish(`${name}.other`, 'nonsense');
    await publish(name, mails('alice', 1, 20));
    await until('all', () => running.counts.stored === 20);
    await until('one to be left', async () => (await manager.streams.info(name)).state.messages === 1);
    assert.equal(running.counts.dead, 0);
  });

  test('a stream that is purged, and one that is not there, deleted and made again', async (t) => {
    const name = `S${++count}`;
    const receiver = await Receiver.start(t);
    const running = source(receiver.push, at(`stream=${name}`));
    await until('that to be told', () => receiver.lines.some((line) => line.includes(`no stream ${name}`)));
    await manager.streams.add({ name, subjects: [`${name}.>`] });
    await running.ready;
    await publish(name, mails('alice', 1, 10));
    await until('these', () => running.counts.stored === 10);
    await manager.streams.purge(name);
    await publish(name, mails('alice', 11, 20));
    await until('these', () => running.counts.stored === 20);
    await manager.streams.delete(name);
    await manager.streams.add({ name, subjects: [`${name}.>`] });
    await publish(name, mails('alice', 21, 30));
    await until('these', () => running.counts.stored === 30);
    assert.deepEqual(await receiver.stored('alice'), numbers(30));
  });

  test('what the stream has dropped before it was read is told', async (t) => {
    const name = await stream({ max_msgs: 10 });
    const receiver = await Receiver.start(t);
    const first = await receiver.from(at(`stream=${name}`));
    await publish(name, mails('alice', 1, 5));
    await until('these', () => first.counts.stored === 5);
    await first.close();
    await publish(name, mails('alice', 6, 30));
    const second = await receiver.from(at(`stream=${name}`));
    await until('the rest', () => second.counts.stored === 10);
    assert.equal(second.counts.missed, 1);
    assert.ok(receiver.events.includes('source-messages-missed'));
    assert.ok(receiver.lines.some((line) => line.includes('from 6 to 20')));
  });

  test('large messages: no more of them are asked for than may be under way', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    receiver.fault = new Error('the store is away');
    const large = 'x'.repeat(200_000);
    await publish(
      name,
      numbers(40).map((n) => ({ user: 'alice', data: n, traceparent: large })),
    );
    const running = await receiver.from(at(`stream=${name}&prefetch-bytes=1000000`));
    await until('some', () => running.counts.underWayBytes > 800_000);
    await until('the pause', async () => (await manager.consumers.info(name, 'tidings')).num_waiting === 0);
    assert.ok(running.counts.underWayBytes < 2_500_000, `${running.counts.underWayBytes} bytes`);
    receiver.fault = undefined;
    await until('all', () => running.counts.stored === 40);
    assert.deepEqual(await receiver.stored('alice'), numbers(40));
  });

  test('a consumer that is not one for this ends the source', async (t) => {
    const name = await stream();
    await manager.consumers.add(name, { durable_name: 'tidings', ack_policy: 'none' });
    const receiver = await Receiver.start(t);
    await assert.rejects(
      source(receiver.push, at(`stream=${name}`)).ready,
      /pull consumer with explicit acks/,
    );
  });

  test('what makes no sense is refused, and nothing of the URL is told', () => {
    for (const [place, error] of [
      ['', /is a stream/],
      ['?stream=a.b', /stream is a name/],
      ['?stream=a&start=soon', /start is first, next, or a time/],
      ['?stream=a&ack-wait=5', /ackWait is from/],
      ['?stream=a&dead-subject=a.*', /no wildcards/],
      ['?stream=a&lead=maybe', /true or false/],
    ] as const)
      assert.throws(() => source(undefined as never, `nats://user:secret@host${place}`), error);
    assert.throws(
      () => source(undefined as never, 'nats://user:secret@:x?stream=a'),
      (error: Error) => /nats:\/\/USER/.test(error.message) && !/secret/.test(error.stack ?? ''),
    );
  });

  test('a server with users: the right password works, a wrong one is told without it', async (t) => {
    const guarded = await startNats(['--user', 'app', '--pass', 'hunter2']);
    t.after(() => guarded.stop());
    const receiver = await Receiver.start(t);
    const url = (password: string): string => `nats://app:${password}@127.0.0.1:${guarded.port}?stream=none`;
    source(receiver.push, url('hunter2'));
    await until('to be let in', () => receiver.lines.some((line) => line.includes('no stream none')));
    await assert.rejects(source(receiver.push, url('hunter3'), { name: 'wrong' }).ready, /refused the login/);
    assert.ok(!receiver.lines.some((line) => /hunter/.test(line)));
  });

  test('a server that is killed and starts again: what was confirmed is there once, in order', async (t) => {
    const name = await stream();
    const receiver = await Receiver.start(t);
    const running = await receiver.from(at(`stream=${name}&ack-wait=2000`));
    for (let n = 0; n < 3; n++) {
      await publish(name, mails('alice', 1 + n * 100, 100 + n * 100));
      await server.kill();
      await server.start();
      await connection.close();
      await open();
    }
    await until('all', () => running.counts.stored === 300);
    assert.deepEqual(await receiver.stored('alice'), numbers(300));
  });
});

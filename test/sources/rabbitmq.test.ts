/** RabbitMQ as a source, with a real one: what is acknowledged when, in which order, and what becomes of what can't be stored. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { after, before, describe, type TestContext, test } from 'node:test';
import { connect } from 'amqplib';
import { source } from '../../src/index.ts';
import { TcpProxy } from '../../src/prove/proxy.ts';
import type { Intake } from '../../src/sources/driver.ts';
import { driverOf } from '../../src/sources/kinds.ts';
import { loadAmqplib } from '../../src/sources/rabbitmq/amqplib.ts';
import { RabbitLead } from '../../src/sources/rabbitmq/lead.ts';
import { RabbitLink } from '../../src/sources/rabbitmq/link.ts';
import { until } from '../support/net.ts';
import { needs } from '../support/programs.ts';
import { type RabbitServer, startRabbit } from '../support/rabbitmq.ts';
import { long, publishRaw, short, table } from '../support/raw-amqp.ts';
import { numbers, Receiver } from './receiver.ts';

type Connection = Awaited<ReturnType<typeof connect>>;
type Channel = Awaited<ReturnType<Connection['createConfirmChannel']>>;

describe('RabbitMQ', { ...needs('rabbitmq', 'epmd'), timeout: 240_000 }, () => {
  let server: RabbitServer;
  let connection: Connection;
  let channel: Channel;
  let count = 0;

  const open = async (): Promise<void> => {
    connection = await connect(server.url);
    connection.on('error', () => {});
    channel = await connection.createConfirmChannel();
    channel.on('error', () => {});
  };
  before(async () => {
    server = await startRabbit();
    await open();
  });
  after(async () => {
    await connection?.close().catch(() => {});
    await server?.stop();
  });

  /** A queue of the test's own. */
  async function queue(args: object = {}): Promise<string> {
    const name = `mail-${++count}`;
    await channel.assertQueue(name, { durable: true, arguments: args });
    return name;
  }
  async function publish(queue: string, messages: [body: unknown, options?: object][]): Promise<void> {
    for (const [body, options] of messages) {
      const content = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
      channel.sendToQueue(queue, content, { persistent: true, ...options });
    }
    await channel.waitForConfirms();
  }
  const mails = (to: string, from: number, last: number): [object, object][] =>
    numbers(last, from).map((n) => [{ user: to, data: n }, { messageId: `${to}-${n}` }]);
  const at = (place: string): string => `${server.url}?${place}`;
  /** The source reaches the server through it. */
  async function behind(t: TestContext): Promise<TcpProxy> {
    const proxy = await TcpProxy.start(() => [server.port]);
    t.after(() => proxy.close());
    return proxy;
  }
  /** A queue that is not there closes the channel. */
  const isThere = async (queue: string): Promise<boolean> => {
    try {
      await channel.checkQueue(queue);
      return true;
    } catch {
      channel = await connection.createConfirmChannel();
      channel.on('error', () => {});
      return false;
    }
  };
  const left = async (queue: string): Promise<number> =>
    (await isThere(queue)) ? (await channel.checkQueue(queue)).messageCount : 0;

  describe('a queue', () => {
    test('gives its messages to their users in order, each acknowledged once it is stored', async (t) => {
      const name = await queue();
      await publish(name, [...mails('alice', 1, 300), ...mails('bob', 1, 5)]);
      const receiver = await Receiver.start(t);
      receiver.fault = new Error('the store is away');
      const running = await receiver.from(at(`queue=${name}`), { closeTimeout: 100 });
      assert.equal(running.name, `queue ${name} at 127.0.0.1:${server.port}`);
      await until('messages to wait for the store', () => running.counts.underWay > 100);
      assert.equal(running.counts.stored, 0);
      await running.close();
      await until('all to be back', async () => (await left(name)) === 305);
      receiver.fault = undefined;
      const again = await receiver.from(at(`queue=${name}`));
      await until('all to be stored', () => again.counts.stored === 305);
      assert.deepEqual(await receiver.stored('alice'), numbers(300));
      await again.close();
      assert.equal(await left(name), 0);
    });

    test('reads on with the same messages when the connection is lost, and none is there twice', async (t) => {
      const name = await queue();
      const proxy = await behind(t);
      const receiver = await Receiver.start(t);
      const url = `${server.url.replace(/:\d+$/, `:${proxy.port}`)}?queue=${name}`;
      const running = await receiver.from(url);
      for (let n = 0; n < 4; n++) {
        await publish(name, mails('alice', 1 + n * 100, 100 + n * 100));
        await until('some to be stored', () => running.counts.stored > n * 100 + 10);
        proxy.cut();
      }
      await until('all to be stored', () => running.counts.stored === 400);
      assert.deepEqual(await receiver.stored('alice'), numbers(400));
      assert.ok(running.counts.losses > 0);
      assert.ok(receiver.events.includes('source-away') && receiver.events.includes('source-back'));
      assert.ok(!receiver.lines.some((line) => line.includes('guest')), 'no secrets');
    });

    for (const [kind, args] of [
      ['classic', {}],
      ['quorum', { 'x-queue-type': 'quorum' }],
      ['of a single active consumer', { 'x-single-active-consumer': true }],
    ] as const) {
      test(`is read by one instance at a time, the next one goes on in order: ${kind}`, async (t) => {
        const name = await queue(args);
        const receiver = await Receiver.start(t);
        const proxies = [await behind(t), await behind(t)];
        const instances = await Promise.all(
          proxies.map(({ port }) =>
            receiver.from(`${server.url.replace(/:\d+$/, `:${port}`)}?queue=${name}`),
          ),
        );
        const stored = (): number => instances.reduce((sum, { counts }) => sum + counts.stored, 0);
        const turns = new Set<number>();
        for (let n = 0; n < 6; n++) {
          const earlier = instances.map(({ counts }) => counts.stored);
          await publish(name, mails('alice', 1 + n * 50, 50 + n * 50));
          await until('some to be stored', () => stored() > n * 50 + 5);
          const leader = instances.findIndex(({ counts }, i) => counts.stored > earlier[i]!);
          turns.add(leader);
          proxies[leader]!.cut();
        }
        await until('all to be stored', () => stored() === 300);
        assert.deepEqual(await receiver.stored('alice'), numbers(300));
        assert.equal(turns.size, 2, 'both had their turn');
      });
    }

    test('is not read beside somebody else who reads it', async (t) => {
      const name = await queue();
      const receiver = await Receiver.start(t);
      const { consumerTag } = await channel.consume(name, () => {});
      await receiver.from(at(`queue=${name}`));
      await until('that to be told', () =>
        receiver.lines.some((line) => line.includes('somebody else reads')),
      );
      await channel.cancel(consumerTag);
      await publish(name, mails('alice', 1, 3));
      await until('it to be read then', async () => (await receiver.stored('alice')).length === 3, 30_000);
    });

    test('without lead is shared with others', async (t) => {
      const name = await queue();
      const receiver = await Receiver.start(t);
      const both = await Promise.all(
        [1, 2].map(() => receiver.from(at(`queue=${name}&lead=false&prefetch=5`))),
      );
      await publish(name, mails('alice', 1, 100));
      await until('all', () => both.reduce((sum, { counts }) => sum + counts.stored, 0) === 100);
      assert.deepEqual(
        (await receiver.stored<number>('alice')).sort((a, b) => a - b),
        numbers(100),
      );
      assert.ok(both.every(({ counts }) => counts.stored > 0));
    });

    test('whose messages have no id gives each at least once', async (t) => {
      const name = await queue();
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`queue=${name}`));
      await publish(name, [[{ user: 'alice', data: 'same' }], [{ user: 'alice', data: 'same' }]]);
      await until('both to be stored', () => running.counts.stored === 2);
      assert.deepEqual(await receiver.stored('alice'), ['same', 'same']);
      await publish(
        name,
        numbers(2).map(() => [{ user: 'alice', data: 'keyed', idempotencyKey: 'k' }]),
      );
      await until('the second to be known', () => running.counts.duplicates === 1);
    });

    test('that is not there yet, is deleted and made again, is read whenever it is there', async (t) => {
      const name = `late-${++count}`;
      const receiver = await Receiver.start(t);
      const running = source(receiver.push, at(`queue=${name}`));
      await until('that to be told', () => receiver.lines.some((line) => line.includes(`no queue ${name}`)));
      for (const [n, args] of [{}, { 'x-queue-type': 'quorum' }].entries()) {
        await channel.assertQueue(name, { durable: true, arguments: args });
        await publish(name, mails('alice', n * 5 + 1, n * 5 + 5));
        await until('it to be read', () => running.counts.stored === n * 5 + 5);
        await channel.deleteQueue(name);
        await until('the loss to be seen', () => running.counts.losses === n + 1);
      }
      assert.deepEqual(await receiver.stored('alice'), numbers(10));
    });

    test('of quorum says how often a message came back, before its limit drops it', async (t) => {
      const name = await queue({ 'x-queue-type': 'quorum', 'x-delivery-limit': 5 });
      await publish(name, mails('alice', 1, 3));
      const proxy = await behind(t);
      const receiver = await Receiver.start(t);
      receiver.fault = new Error('the store is away');
      const running = await receiver.from(`${server.url.replace(/:\d+$/, `:${proxy.port}`)}?queue=${name}`);
      for (let n = 0; n < 4; n++) {
        await until('them', () => running.counts.underWay === 3);
        proxy.cut();
        await until('the loss', () => running.counts.losses === n + 1);
      }
      await until('them', () => running.counts.underWay === 3);
      receiver.fault = undefined;
      await until('all to be stored', () => running.counts.stored === 3);
      assert.deepEqual(await receiver.stored('alice'), numbers(3));
      const told = receiver.lines.filter((line) => line.includes('source-messages-endangered'));
      assert.equal(told.length, 3, 'of the second time, the third and the fourth');
      assert.match(told[0]!, /got a message back 2 times \(message-id alice-1\)/);
    });

    test('stays with who leads for longer than RabbitMQ waits for an acknowledgement', async (t) => {
      const name = await queue();
      const set = (name: string, value: number): Promise<string> =>
        server.ctl('eval', `application:set_env(rabbit, ${name}, ${value}).`);
      await set('consumer_timeout', 4_000);
      await set('channel_tick_interval', 200);
      t.after(async () => {
        await set('consumer_timeout', 1_800_000);
        await set('channel_tick_interval', 60_000);
      });
      const link = await RabbitLink.open(await loadAmqplib(), server.url, {});
      t.after(() => link.close());
      const lead = await RabbitLead.enter(
        link,
        link,
        await link.channel(),
        `${name}.tidings`,
        undefined,
        200,
      );
      t.after(() => lead.leave());
      await lead.gained;
      await assert.rejects(
        link.answer(new Promise(() => {}), 'nothing', 8_000),
        /did not answer in 8 s: nothing/,
        'it is not lost',
      );
    });

    test('with a header that the library can not read says why nothing is read', async (t) => {
      const name = await queue();
      const entry = Buffer.concat([short('big'), Buffer.from('L'), Buffer.alloc(8)]);
      await publishRaw(server.port, name, '{"user": "alice", "data": 1}', 'headers', long(entry));
      const receiver = await Receiver.start(t);
      await receiver.from(at(`queue=${name}`));
      await until('that to be told', () =>
        receiver.lines.some((line) => /source-away.*taken out of the queue/.test(line)),
      );
      await channel.purgeQueue(name).catch(() => {});
      await publish(name, mails('alice', 1, 1));
      await until('it to be read then', async () => (await receiver.stored('alice')).length === 1);
    });

    test('tells ids that are no text from nobody, rather than take two messages for one', async (t) => {
      const name = await queue();
      const body = '{"user": "alice", "data": 1}';
      for (const byte of [0x80, 0x81])
        await publishRaw(server.port, name, body, 'messageId', short(Buffer.from([byte])));
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`queue=${name}`));
      await until('both', () => running.counts.stored === 2);
    });

    test('of large messages has fewer of them under way, and far too many go back in their place', async (t) => {
      const name = await queue();
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`queue=${name}&prefetch-bytes=500000`));
      // Of small ones there may be many.
      await publish(name, mails('alice', 1, 400));
      await until('these', () => running.counts.stored === 400);
      receiver.fault = new Error('the store is away');
      const mail = (n: number): [object, object] => [
        { user: 'alice', data: n, ttl: 1e9, traceparent: 'x'.repeat(100_000) },
        { messageId: `${n}` },
      ];
      await publish(name, numbers(460, 401).map(mail));
      await until('too much', () => running.counts.underWayBytes > 500_000);
      await until('the rest to be back', async () => (await left(name)) > 30);
      assert.ok(running.counts.underWayBytes < 1_500_000, `${running.counts.underWayBytes} bytes`);
      receiver.fault = undefined;
      await until('all', () => running.counts.stored === 460);
      assert.deepEqual(await receiver.stored('alice'), numbers(460));
    });
  });

  describe('what can never be stored', () => {
    test('is in a queue of its own, with its reason and as it was, before it is acknowledged', async (t) => {
      const name = await queue();
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`queue=${name}`));
      await publish(name, [
        ...mails('alice', 1, 2),
        [Buffer.from('nonsense'), { messageId: 'bad', headers: { tenant: 7 }, contentType: 'text/x' }],
        [{ user: '', data: 1 }],
        ...mails('alice', 3, 4),
      ]);
      await until('all to be dealt with', () => running.counts.stored === 4 && running.counts.dead === 2);
      assert.deepEqual(await receiver.stored('alice'), numbers(4));
      await until('both', async () => (await left(`${name}.dead`)) === 2);
      const dead = await channel.get(`${name}.dead`, { noAck: true });
      assert.ok(dead);
      assert.equal(dead.content.toString(), 'nonsense');
      assert.equal(dead.properties.messageId, 'bad');
      assert.equal(dead.properties.contentType, 'text/x');
      assert.equal(dead.properties.headers?.['tenant'], 7);
      assert.equal(dead.properties.headers?.['x-tidings-reason'], 'the message is not JSON');
      assert.equal(dead.properties.headers?.['x-tidings-queue'], name);
      await running.close();
      assert.equal(await left(name), 0);
    });

    test('goes there whatever its properties are, and nowhere else', async (t) => {
      const name = await queue();
      const other = await queue();
      const notUtf8 = Buffer.alloc(255, 0xff);
      const trap = (value: string): Buffer =>
        table([
          [
            't',
            table([
              ['!', 'timestamp'],
              ['value', value],
            ]),
          ],
        ]);
      const raw: [Parameters<typeof publishRaw>[3], Buffer][] = [
        // Each of them is read as something that can't be written.
        ['correlationId', short(notUtf8)],
        ['timestamp', Buffer.alloc(8, 0xff)],
        ['headers', trap('no number')],
        ['headers', table([[notUtf8, long('')]])],
      ];
      for (const [property, bytes] of raw) await publishRaw(server.port, name, 'nonsense', property, bytes);
      await publish(name, [
        [Buffer.from('nonsense'), { headers: { full: 'x'.repeat(65_000) } }],
        // Published once more with these headers, it would be in these queues once more.
        [Buffer.from('nonsense'), { headers: { CC: [other], BCC: [other], kept: 1 } }],
        ...mails('alice', 1, 1),
      ]);
      assert.equal(await left(other), 1);
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`queue=${name}`));
      await until('all', async () => running.counts.stored === 1 && (await left(`${name}.dead`)) === 6);
      await until('none to be left', async () => (await left(name)) === 0);
      assert.equal(running.counts.losses, 0);
      assert.equal(await left(other), 1);
      for (let n = 1; n <= 6; n++) {
        const dead = await channel.get(`${name}.dead`, { noAck: true });
        assert.ok(dead);
        assert.equal(dead.properties.headers?.['x-tidings-reason'], 'the message is not JSON', `${n}`);
        if (n === 6) assert.equal(dead.properties.headers?.['kept'], 1);
      }
    });

    test('is published to an exchange that was named; while nobody takes it there it stays', async (t) => {
      const name = await queue();
      const exchange = `${name}.lost`;
      await channel.assertExchange(exchange, 'direct');
      const receiver = await Receiver.start(t);
      await receiver.from(at(`queue=${name}&dead-exchange=${exchange}&dead-key=mail`));
      await publish(name, [[Buffer.from('nonsense')]]);
      await until('that to be told', () => receiver.lines.some((line) => line.includes('no queue takes it')));
      const place = await queue();
      await channel.bindQueue(place, exchange, 'mail');
      await until('it to be there', async () => (await left(place)) >= 1, 30_000);
    });

    test('is rejected where the queue has a place of its own', async (t) => {
      const place = await queue();
      const name = await queue({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': place });
      const receiver = await Receiver.start(t);
      await receiver.from(at(`queue=${name}&reject=true`));
      await publish(name, [[Buffer.from('nonsense')]]);
      await until('it to be there', async () => (await left(place)) === 1);
    });
  });

  describe('a stream', () => {
    const stream = { 'x-queue-type': 'stream' };

    test('is read from its beginning, and on from where it was left, by whichever instance', async (t) => {
      const name = await queue(stream);
      await publish(name, mails('alice', 1, 50));
      const receiver = await Receiver.start(t);
      const first = await receiver.from(at(`stream=${name}`));
      await until('the first', () => first.counts.stored === 50);
      const second = await receiver.from(at(`stream=${name}`));
      await first.close();
      await publish(name, mails('alice', 51, 80));
      await until('the rest', () => second.counts.stored === 30);
      assert.equal(second.counts.duplicates, 0, 'the place was saved');
      assert.deepEqual(await receiver.stored('alice'), numbers(80));
      await second.close();
      const third = await receiver.from(at(`stream=${name}&consumer=other`));
      await until('another consumer has all', () => third.counts.stored === 80);
    });

    test('is read on when the connection is lost', async (t) => {
      const name = await queue(stream);
      const proxy = await behind(t);
      const receiver = await Receiver.start(t);
      const running = await receiver.from(`${server.url.replace(/:\d+$/, `:${proxy.port}`)}?stream=${name}`);
      for (let n = 0; n < 3; n++) {
        await publish(name, mails('alice', 1 + n * 50, 50 + n * 50));
        await until('some', () => running.counts.stored > n * 50 + 5);
        proxy.cut();
      }
      await until('all', () => running.counts.stored === 150);
      assert.deepEqual(await receiver.stored('alice'), numbers(150));
      assert.equal(running.counts.missed, 0);
    });

    test('forgets a connection that is over, whoever led over it and whoever waited in line', async (t) => {
      const name = await queue({ 'x-queue-type': 'stream' });
      const proxy = await behind(t);
      const place = new URL(at(`stream=${name}`));
      place.port = String(proxy.port);
      const { signal } = new AbortController();
      for (let round = 0; round < 3; round++) {
        let connected = 0;
        const intake = {
          connected: () => connected++,
          prefetch: 10,
          prefetchBytes: 1e6,
          free: { messages: 10, bytes: 1e6 },
        };
        const running = [0, 1].map(() =>
          driverOf(place.href).driver.run(intake as unknown as Intake, signal),
        );
        const ended = Promise.allSettled(running);
        await until('both', () => connected === 2);
        const line = `${name}.tidings`;
        await until('one behind the other', async () => {
          return (await isThere(line)) && (await channel.checkQueue(line)).consumerCount === 2;
        });
        proxy.cut();
        for (const { status } of await ended) assert.equal(status, 'rejected');
      }
      assert.equal(getEventListeners(signal, 'abort').length, 0);
    });

    test('that was made anew is told, and read from its beginning', async (t) => {
      const name = await queue(stream);
      const receiver = await Receiver.start(t);
      for (const length of [20, 30, 3]) {
        await publish(
          name,
          numbers(length).map((n) => [{ user: `${name}-${length}`, data: n }]),
        );
        const running = await receiver.from(at(`stream=${name}`));
        await until('all', () => running.counts.stored === length, 40_000);
        assert.deepEqual(await receiver.stored(`${name}-${length}`), numbers(length));
        assert.equal(running.counts.missed, length === 20 ? 0 : 1);
        await running.close();
        await channel.deleteQueue(name);
        await channel.assertQueue(name, { durable: true, arguments: stream });
      }
    });

    test('is read from what comes next, where that is wanted, even if that comes while nobody reads', async (t) => {
      const name = await queue(stream);
      await publish(name, mails('old', 1, 5));
      await new Promise((resolve) => setTimeout(resolve, 1100));
      const receiver = await Receiver.start(t);
      const first = await receiver.from(at(`stream=${name}&start=next`));
      await until('it to lead', () => isThere(`${name}.tidings`));
      await until('its start to be saved', () => first.counts.connected);
      await first.close();
      await publish(name, mails('new', 1, 5));
      const second = await receiver.from(at(`stream=${name}&start=next`));
      await until('the new ones', () => second.counts.stored === 5);
      assert.deepEqual(await receiver.stored('old'), []);
    });

    test('keeps what can never be stored in a queue, too', async (t) => {
      const name = await queue(stream);
      await publish(name, [[Buffer.from('nonsense')], ...mails('alice', 1, 2)]);
      const receiver = await Receiver.start(t);
      const running = await receiver.from(at(`stream=${name}`));
      await until('the others', () => running.counts.stored === 2);
      await until('it to be there', async () => (await left(`${name}.dead`)) === 1);
    });
  });

  test('what makes no sense is refused, and nothing of the URL is told', async () => {
    const receiver = { push: undefined as never };
    for (const [place, error] of [
      ['', /either a queue or a stream/],
      ['?queue=a&stream=b', /either a queue or a stream/],
      ['?queue=', /queue of a source is a text/],
      ['?queue=a%00', /1 to 255 characters/],
      ['?queue=a&start=next', /start is for streams/],
      ['?stream=a&start=soon', /start is first, next, or a time/],
      ['?stream=a&reject=true', /for queues/],
      ['?queue=a&reject=true&dead-queue=b', /reject leaves it/],
      ['?queue=a&dead-exchange=c&dead-queue=b', /one of deadQueue/],
      ['?queue=a&dead-queu=b', /there is no "dead-queu"/],
      [`?queue=${'q'.repeat(248)}`, /more than 255 bytes/],
      [`?queue=a&dead-queue=${'%C3%BC'.repeat(200)}`, /more than 255 bytes/],
    ] as const)
      assert.throws(() => source(receiver.push, `amqp://user:secret@host${place}`), error);
    assert.throws(
      () => source(receiver.push, 'amqp://user:secret@:x?queue=a'),
      (error: Error) => /amqp:\/\/USER/.test(error.message) && !/secret/.test(error.stack ?? ''),
    );
  });

  test('a wrong password, and a virtual host that there is not, end the source, and are told without it', async (t) => {
    const receiver = await Receiver.start(t);
    const url = server.url.replace('guest:guest', 'guest:hunter2');
    await assert.rejects(source(receiver.push, `${url}?queue=a`).ready, /refused.*ACCESS_REFUSED/);
    await assert.rejects(
      source(receiver.push, `${server.url}/nowhere?queue=a`).ready,
      /no such virtual host/,
    );
    assert.ok(!receiver.lines.some((line) => line.includes('hunter2') || line.includes('guest:')));
  });

  test('a server that has no memory left still gives what it has, and takes dead letters later', async (t) => {
    const name = await queue();
    await publish(name, [[Buffer.from('nonsense')], ...mails('alice', 1, 20)]);
    const receiver = await Receiver.start(t);
    await server.ctl('set_vm_memory_high_watermark', '0.0000001');
    const running = await receiver.from(at(`queue=${name}`));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await server.ctl('set_vm_memory_high_watermark', '0.4');
    await until('all to be stored', () => running.counts.stored === 20, 40_000);
    await until('the dead one to be there', async () => (await left(`${name}.dead`)) === 1, 40_000);
  });

  test('a server that is killed and starts again: what was confirmed is there once, in order', async (t) => {
    const [classic, quorum, stream] = await Promise.all([
      queue(),
      queue({ 'x-queue-type': 'quorum' }),
      queue({ 'x-queue-type': 'stream' }),
    ]);
    const receiver = await Receiver.start(t);
    const running = await Promise.all(
      [`queue=${classic}`, `queue=${quorum}`, `stream=${stream}`].map((place) => receiver.from(at(place))),
    );
    const users = [classic, quorum, stream];
    for (const user of users) await publish(user!, mails(user!, 1, 100));
    await until('some of each', () => running.every(({ counts }) => counts.stored > 5));
    // A stream of one server alone may lose what it has confirmed.
    await until('all of the stream', () => running[2]!.counts.stored === 100);
    await server.remember();
    await server.kill();
    await server.start();
    await open();
    for (const user of users) {
      await until('what is sent to be confirmed again', async () => {
        if (!(await isThere(user!))) return false;
        return publish(user!, mails(user!, 101, 150)).then(
          () => true,
          () => false,
        );
      });
    }
    await until('all', () => running.every(({ counts }) => counts.stored === 150));
    for (const user of users) assert.deepEqual(await receiver.stored(user!), numbers(150));
  });
});

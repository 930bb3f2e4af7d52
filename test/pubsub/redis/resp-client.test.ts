/** The Redis client against a real Redis, through everything that goes wrong between the two. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { RedisError, RedisReplyError, RespClient, Script } from '../../../src/redis.ts';
import { makeCertificates } from '../../support/certificates.ts';
import { freePort, until } from '../../support/net.ts';
import { needs } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';

/** Back at once, and never out of patience with a machine that is slow. */
const fast = { reconnectMinDelay: 10, reconnectMaxDelay: 100, queueMaxWait: 120_000 };
const isUnknown = { code: 'REDIS_OUTCOME_UNKNOWN' };

describe('RespClient', { ...needs('redis'), timeout: 600_000 }, () => {
  let redis: RedisServer;
  before(async () => {
    redis = await startRedis();
  });
  after(() => redis.stop());

  const withClient = async (
    use: (client: RespClient) => Promise<void>,
    options: ConstructorParameters<typeof RespClient>[1] = {},
    url = redis.url,
  ) => {
    const client = new RespClient(url, { ...fast, ...options });
    try {
      await use(client);
    } finally {
      await client.close();
    }
  };

  test('any command, with replies of every type', () =>
    withClient(async (client) => {
      assert.equal(await client.command('SET', 'key', 'grüße 你好'), 'OK');
      assert.equal(await client.command('GET', 'key'), 'grüße 你好');
      assert.equal(await client.command('GET', 'none'), null);
      assert.equal(await client.command('INCRBY', 'number', 41), 41);
      await client.command('RPUSH', 'list', 'a', 'b');
      assert.deepEqual(await client.command('LRANGE', 'list', 0, -1), ['a', 'b']);
      assert.deepEqual(await client.command('EVAL', 'return {1,{"x",false},{ok="fine"}}', 0), [
        1,
        ['x', null],
        'fine',
      ]);
    }));

  test('bytes go in and come out unchanged, of any size', () =>
    withClient(async (client) => {
      for (const size of [0, 1, 63, 64, 65, 1000, 70_000, 300_000, 5_000_000]) {
        const value = Buffer.alloc(size);
        for (let i = 0; i < size; i++) value[i] = (i * 31 + (i >> 8)) & 255;
        const key = Buffer.from([0, 255, 13, 10, size & 255]);
        const [, back] = await Promise.all([
          client.command('SET', key, value),
          client.commandBuffers('GET', key),
        ]);
        assert.ok(value.equals(back as Buffer), `${size} bytes`);
      }
    }));

  test('ten thousand commands of one tick are answered in their order', () =>
    withClient(async (client) => {
      const replies = await Promise.all(
        Array.from({ length: 10_000 }, (_, i) => client.command('ECHO', `${i}${'x'.repeat(i % 300)}`)),
      );
      assert.ok(replies.every((reply, i) => reply === `${i}${'x'.repeat(i % 300)}`));
    }));

  test('commands of one tick are written at once', async () => {
    const chunks: Buffer[] = [];
    const server = createServer((socket) => {
      socket.on('data', (chunk) => {
        chunks.push(chunk);
        const count = chunk.toString().match(/PING|ECHO|CLIENT/g)?.length ?? 0;
        socket.write('+PONG\r\n'.repeat(count));
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = new RespClient({ port }, { probeInterval: 0 });
    await client.connect();
    chunks.length = 0;
    const first = Promise.all(Array.from({ length: 50 }, () => client.command('ECHO', 'x')));
    await first;
    assert.equal(chunks.length, 1);
    // So are the commands that the promises settled by one read send in turn.
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        await client.command('ECHO', 'x');
        await client.command('ECHO', 'y');
      }),
    );
    assert.equal(chunks.length, 3);
    await client.close();
    server.close();
  });

  test('an error reply rejects its own command only, and names it', () =>
    withClient(async (client) => {
      await client.command('SET', 'text', 'x');
      const [error, value] = await Promise.all([
        client.command('LPUSH', 'text', 'y').catch((e) => e),
        client.command('GET', 'text'),
      ]);
      assert.ok(error instanceof RedisReplyError && error instanceof RedisError);
      assert.equal(error.prefix, 'WRONGTYPE');
      assert.equal(error.code, 'REDIS_REPLY');
      assert.match(error.message, /^WRONGTYPE .*\(answer to LPUSH\)$/);
      assert.equal(value, 'x');
    }));

  test('a script is run by its digest, and loaded again after SCRIPT FLUSH', () =>
    withClient(async (client) => {
      const script = new Script('return {KEYS[1], ARGV[1], ARGV[2]}');
      assert.deepEqual(await client.evaluate(script, ['k'], ['a', 1]), ['k', 'a', '1']);
      await client.command('SCRIPT', 'FLUSH');
      const all = Array.from({ length: 20 }, (_, i) => client.evaluate(script, ['k'], ['a', i]));
      assert.deepEqual(
        (await Promise.all(all)).map((r) => (r as string[])[2]),
        Array.from({ length: 20 }, (_, i) => String(i)),
      );
      assert.deepEqual(await client.command('SCRIPT', 'EXISTS', script.digest), [1]);
      assert.deepEqual(await client.evaluateBuffers(script, ['k'], [Buffer.from([255]), 1]), [
        Buffer.from('k'),
        Buffer.from([255]),
        Buffer.from('1'),
      ]);
    }));

  test('SELECT, user and password of an ACL, and CLIENT SETNAME from the URL and options', async () => {
    await withClient(async (client) => {
      await client.command('ACL', 'SETUSER', 'ann', 'on', '>p:w/d@1', 'allkeys', 'allchannels', '+@all');
    });
    const url = `redis://ann:${encodeURIComponent('p:w/d@1')}@127.0.0.1:${redis.port}/3`;
    await withClient(
      async (client) => {
        assert.equal(await client.command('ACL', 'WHOAMI'), 'ann');
        assert.equal(await client.command('CLIENT', 'GETNAME'), 'mine');
        assert.match(String(await client.command('CLIENT', 'INFO')), / db=3 /);
      },
      { clientName: 'mine' },
      url,
    );
  });

  test('a wrong password is told as such, without the password, and the next attempt announced', async () => {
    const client = new RespClient(`redis://ann:geheim@127.0.0.1:${redis.port}`, {
      ...fast,
      queueMaxWait: 300,
    });
    client.connect().catch(() => {});
    const [told] = (await once(client, 'retry')) as [RedisError];
    assert.match(
      told.message,
      /^Redis at 127\.0\.0\.1:\d+ refused the user or password \(WRONGPASS .*\); retrying in \d+\.\d s \(attempt \d+\)$/,
    );
    const failed: RedisError = await client.command('GET', 'x').then(
      () => assert.fail('it must not succeed'),
      (e) => e,
    );
    assert.equal(failed.code, 'REDIS_UNAVAILABLE');
    assert.match(failed.message, /was not sent; .*refused the user or password/);
    for (const e of [told, failed])
      assert.ok(!JSON.stringify([e.message, String(e.stack)]).includes('geheim'));
    await client.close();
  });

  test('a refused connection is told with the address, the delay and the attempt', async () => {
    const port = await freePort();
    const client = new RespClient(`redis://127.0.0.1:${port}`, fast);
    const retries: RedisError[] = [];
    client.on('retry', (error) => retries.push(error));
    const connected = client.connect();
    await until('three attempts', () => retries.length >= 3);
    assert.match(
      retries[2]!.message,
      new RegExp(
        `^Redis at 127\\.0\\.0\\.1:${port} refused the connection; retrying in \\d\\.\\d s \\(attempt 3\\)$`,
      ),
    );
    const late = await startRedis([], port);
    await connected;
    assert.equal(await client.command('PING'), 'PONG');
    await client.close();
    await late.stop();
  });

  test('TLS: the server is checked against the given authority, and used', async () => {
    const certificates = makeCertificates();
    const port = await freePort();
    const { certFile, keyFile, caFile, ca } = certificates;
    const tls = [
      '--tls-port',
      port,
      '--tls-cert-file',
      certFile,
      '--tls-key-file',
      keyFile,
      '--tls-ca-cert-file',
      caFile,
      '--tls-auth-clients',
      'no',
    ];
    const server = await startRedis(tls.map(String));
    try {
      await withClient(
        async (client) => {
          const value = Buffer.alloc(1_000_000, 'tls!');
          await client.command('SET', 'k', value);
          assert.ok(value.equals((await client.commandBuffers('GET', 'k')) as Buffer));
          const all = Array.from({ length: 5000 }, (_, i) => client.command('ECHO', `${i}`));
          assert.ok((await Promise.all(all)).every((reply, i) => reply === `${i}`));
          const got: string[] = [];
          await client.subscribe('news', (message) => got.push(message));
          await client.publish('news', 'hello');
          await until('the message', () => got[0] === 'hello');
        },
        { tls: { ca } },
        `rediss://localhost:${port}`,
      );
      const distrustful = new RespClient(`rediss://localhost:${port}`, fast);
      const reasons: string[] = [];
      distrustful.on('retry', (error) => reasons.push(error.message));
      const connecting = distrustful.connect().catch((error) => error);
      const distrust = /can't be reached: unable to (verify|get)|self.signed/;
      await until('the server to be refused', () => reasons.some((reason) => distrust.test(reason)));
      await distrustful.close();
      assert.equal(((await connecting) as RedisError).code, 'REDIS_CLOSED');
    } finally {
      await server.stop();
      certificates.remove();
    }
  });

  test('a unix socket, by both forms of its URL', async () => {
    const path = join(redis.folder, 'redis.sock');
    const server = await startRedis(['--unixsocket', path]);
    for (const url of [`redis+unix://${path}?db=2`, `unix:${path}?db=2`]) {
      await withClient(
        async (client) => assert.match(String(await client.command('CLIENT', 'INFO')), / db=2 /),
        {},
        url,
      );
    }
    await server.stop();
    rmSync(path, { force: true });
    const client = new RespClient(`unix:${path}`, fast);
    client.connect().catch(() => {});
    const [error] = await once(client, 'retry');
    assert.match((error as Error).message, /^Redis at unix:\/.*redis\.sock is not there/);
    await client.close();
  });

  test('subscriptions of all kinds get their messages, and unsubscribed ones none', () =>
    withClient(async (client) => {
      const got: string[] = [];
      const note = (kind: string) => (message: string, channel: string) =>
        got.push(`${kind} ${channel} ${message}`);
      await client.subscribe(['a', 'b'], note('channel'));
      await client.psubscribe('p*', note('pattern'));
      await client.ssubscribe('s', note('shard'));
      const bytes: Buffer[] = [];
      await client.subscribeBuffers('bytes', (payload) => bytes.push(Buffer.from(payload)));
      assert.equal(await client.publish('a', '1'), 1);
      await client.publish('b', 'zwei ü');
      await client.publish('pq', '3');
      await client.command('SPUBLISH', 's', '4');
      await client.publish('bytes', Buffer.from([0, 255, 13, 10]));
      await until('all five', () => got.length === 4 && bytes.length === 1);
      assert.deepEqual(got, ['channel a 1', 'channel b zwei ü', 'pattern pq 3', 'shard s 4']);
      assert.deepEqual(bytes[0], Buffer.from([0, 255, 13, 10]));
      await client.unsubscribe(['a', 'bytes', 'never']);
      await client.punsubscribe('p*');
      await client.sunsubscribe('s');
      assert.equal(await client.publish('a', 'x'), 0);
      assert.equal(await client.publish('pq', 'x'), 0);
      assert.equal(await client.command('SPUBLISH', 's', 'x'), 0);
      assert.equal(await client.publish('b', 'x'), 1);
    }));

  test('a subscription that the ACL refuses rejects; those asked for with it do not', async () => {
    await withClient(async (client) => {
      await client.command('ACL', 'SETUSER', 'bob', 'on', '>pw', 'resetchannels', '&ok:*', '+@all');
    });
    await withClient(
      async (client) => {
        const results = await Promise.allSettled(
          ['ok:1', 'no:1', 'ok:2'].map((channel) => client.subscribe(channel, () => {})),
        );
        assert.deepEqual(
          results.map((r) => r.status),
          ['fulfilled', 'rejected', 'fulfilled'],
        );
        assert.equal(((results[1] as PromiseRejectedResult).reason as RedisReplyError).prefix, 'NOPERM');
      },
      { username: 'bob', password: 'pw' },
    );
  });

  test('a listener that throws surfaces its error and the messages go on', () =>
    withClient(async (client) => {
      const thrown: string[] = [];
      const catcher = (error: Error) => thrown.push(error.message);
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', catcher);
      try {
        const got: string[] = [];
        await client.subscribe('throws', (message) => {
          got.push(message);
          if (message === 'a') throw new Error('of the listener');
        });
        await Promise.all([client.publish('throws', 'a'), client.publish('throws', 'b')]);
        await until('both', () => got.length === 2 && thrown.length === 1);
        assert.deepEqual(thrown, ['of the listener']);
      } finally {
        process.removeListener('uncaughtException', catcher);
        for (const listener of others) process.on('uncaughtException', listener);
      }
    }));

  test('close waits for replies, and then nothing is taken any more', async () => {
    const client = new RespClient(redis.url);
    const replies = Promise.all(Array.from({ length: 100 }, (_, i) => client.command('ECHO', `${i}`)));
    await client.connect();
    const late = client.command('ECHO', 'late');
    await client.close();
    assert.equal((await replies).length, 100);
    assert.equal(await late, 'late');
    await assert.rejects(client.command('PING'), { code: 'REDIS_CLOSED' });
    await assert.rejects(
      client.subscribe('x', () => {}),
      { code: 'REDIS_CLOSED' },
    );
    await assert.rejects(client.connect(), { code: 'REDIS_CLOSED' });
  });
});

describe('RespClient, when the connection is lost', { ...needs('redis'), timeout: 600_000 }, () => {
  test('kill and restart: written commands reject with unknown outcome, waiting ones go through', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, fast);
    await client.connect();
    const blocked = client.command('BLPOP', 'nothing', 0);
    const [unknown] = await Promise.all([
      blocked.catch((error) => error),
      until('the command to arrive', () => client.pendingCommands === 1).then(() => redis.kill()),
    ]);
    assert.equal(unknown.code, 'REDIS_OUTCOME_UNKNOWN');
    assert.match(unknown.message, /connection lost before the reply to BLPOP; it may have been executed/);
    const waiting = [client.command('SET', 'k', 'v'), client.command('GET', 'k')];
    await redis.start();
    assert.deepEqual(await Promise.all(waiting), ['OK', 'v']);
    await client.close();
    await redis.stop();
  });

  test('what was sent in the tick of the loss but never written is written to the next connection', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, fast);
    await client.connect();
    client.reconnect('is replaced by a test');
    const replies = [client.command('INCR', 'n'), client.command('INCR', 'n')];
    assert.deepEqual(await Promise.all(replies), [1, 2]);
    const before = [client.command('INCR', 'n'), client.command('INCR', 'n')];
    client.reconnect('is replaced by a test');
    assert.deepEqual(await Promise.all(before), [3, 4]);
    await client.close();
    await redis.stop();
  });

  test('subscriptions are in force again after a restart, 100,000 of them in bounded batches', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, fast);
    const channels = Array.from({ length: 100_000 }, (_, i) => `user:${i}`);
    let got = 0;
    await client.subscribe(channels, () => got++);
    await client.psubscribe('pattern*', () => got++);
    await redis.kill();
    await until('the loss to be noticed', () => !client.subscriber.isUp);
    await redis.start();
    await until('all to be in force again', () => client.subscriber.isUp, 60_000);
    const counts = await client.command('PUBSUB', 'NUMSUB', 'user:0', 'user:50000', 'user:99999');
    assert.deepEqual(counts, ['user:0', 1, 'user:50000', 1, 'user:99999', 1]);
    assert.equal(((await client.command('PUBSUB', 'CHANNELS')) as string[]).length, 100_000);
    await client.publish('user:77777', 'x');
    await client.publish('pattern1', 'x');
    await until('both messages', () => got === 2);
    await client.close();
    await redis.stop();
  });

  test('what changes while there is no connection counts when it is back', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, fast);
    const got: string[] = [];
    const note = (_: string, channel: string) => got.push(channel);
    await client.subscribe(['stays', 'goes'], note);
    await redis.kill();
    await until('the loss to be noticed', () => !client.subscriber.isUp);
    await client.unsubscribe('goes');
    const comes = client.subscribe('comes', note);
    await redis.start();
    await comes;
    await until('all to be in force', () => client.subscriber.isUp);
    const counts = await client.command('PUBSUB', 'NUMSUB', 'stays', 'goes', 'comes');
    assert.deepEqual(counts, ['stays', 1, 'goes', 0, 'comes', 1]);
    await client.close();
    await redis.stop();
  });

  test('the queue is bounded in commands, in bytes and in time', async () => {
    const port = await freePort();
    const make = (options: object) => new RespClient({ port }, { ...fast, queueMaxWait: 60_000, ...options });
    const byCount = make({ queueMaxCommands: 10 });
    const fills = Array.from({ length: 10 }, () => byCount.command('PING').catch((e) => e));
    await assert.rejects(byCount.command('PING'), {
      code: 'REDIS_QUEUE_FULL',
      message: /queue .* is full \(10 commands/,
    });
    await byCount.close();
    for (const fill of await Promise.all(fills)) assert.equal(fill.code, 'REDIS_CLOSED');

    const byBytes = make({ queueMaxBytes: 10_000 });
    const large = byBytes.command('ECHO', 'x'.repeat(9000)).catch((e) => e);
    await assert.rejects(byBytes.command('ECHO', 'x'.repeat(2000)), { code: 'REDIS_QUEUE_FULL' });
    await byBytes.close();
    assert.equal((await large).code, 'REDIS_CLOSED');

    const byTime = make({ queueMaxWait: 50 });
    await assert.rejects(byTime.command('PING'), {
      code: 'REDIS_UNAVAILABLE',
      message: /within 50 ms, the command was not sent/,
    });
    await byTime.close();
    const atOnce = make({ queueMaxWait: 0 });
    await assert.rejects(atOnce.command('PING'), { code: 'REDIS_UNAVAILABLE' });
    await atOnce.close();
  });

  test('a server that takes nothing in fills the queue, not the memory', async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket.on('error', () => {}));
      socket.once('data', () => {
        socket.write('+OK\r\n+PONG\r\n');
        socket.pause();
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = new RespClient(
      { port },
      { queueMaxBytes: 1_000_000, queueMaxWait: 60_000, probeInterval: 0 },
    );
    await client.connect();
    const value = Buffer.alloc(100_000);
    let full = 0;
    for (let i = 0; i < 1000 && full === 0; i++) {
      client.command('SET', 'k', value).catch((error) => {
        if (error.code === 'REDIS_QUEUE_FULL') full++;
      });
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.ok(full > 0);
    for (const socket of sockets) socket.destroy();
    await client.close();
    server.close();
  });

  test('a command without a reply in time rejects with unknown outcome, and the others keep their replies', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, { ...fast, commandTimeout: 200 });
    await client.connect();
    const other = new RespClient(redis.url);
    const echo = await until('an echo that is in time itself', async () => {
      await assert.rejects(client.command('BLPOP', 'list', 0), {
        ...isUnknown,
        message: /no reply to BLPOP within 200 ms/,
      });
      const next = client.command('ECHO', 'mine').catch(() => undefined);
      await other.command('RPUSH', 'list', 'x');
      return next;
    });
    assert.equal(echo, 'mine');
    await Promise.all([client.close(), other.close()]);
    await redis.stop();
  });

  test('a connection that is silently dead is probed and replaced, commands and subscriptions alike', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, {
      ...fast,
      probeInterval: 100,
      probeTimeout: 150,
      connectTimeout: 500,
    });
    const downs: RedisError[] = [];
    client.on('down', (error) => downs.push(error));
    let got = 0;
    await client.subscribe('news', () => got++);
    await client.connect();
    redis.process.kill('SIGSTOP');
    await until('both to be given up', () => downs.length > 0 && !client.subscriber.isUp);
    assert.match(downs[0]!.message, /^Redis at 127\.0\.0\.1:\d+ has not answered for \d+ ms$/);
    redis.process.kill('SIGCONT');
    await until('the subscription to be in force again', () => client.subscriber.isUp);
    // So impatient a client may lose a connection again.
    await until('a message', async () => {
      await client.publish('news', 'x').catch(() => {});
      return got > 0;
    });
    await client.close();
    await redis.stop();
  });

  test('a live connection that is quiet stays', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, { ...fast, probeInterval: 20, probeTimeout: 60_000 });
    await client.subscribe('x', () => {});
    const id = await client.command('CLIENT', 'ID');
    const commands = async () =>
      Number(/total_commands_processed:(\d+)/.exec(String(await client.command('INFO', 'stats')))![1]);
    const start = await commands();
    await until('many probes', async () => (await commands()) > start + 20);
    assert.equal(await client.command('CLIENT', 'ID'), id);
    assert.ok(client.subscriber.isUp);
    await client.close();
    await redis.stop();
  });

  test('a server that is loading its data is not used before it is done', async () => {
    let isLoading = true;
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (chunk) => {
        for (const command of chunk.toString().match(/CLIENT|PING|GET/g) ?? []) {
          if (command === 'PING' && isLoading)
            socket.write('-LOADING Redis is loading the dataset in memory\r\n');
          else socket.write(command === 'GET' ? '$1\r\nv\r\n' : '+OK\r\n');
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new RespClient({ port: (server.address() as { port: number }).port }, fast);
    const value = client.command('GET', 'k');
    const [error] = await once(client, 'retry');
    assert.match((error as Error).message, /is loading its data; retrying in/);
    isLoading = false;
    assert.equal(await value, 'v');
    await client.close();
    server.close();
  });

  test('a reply over the limit fails what asked for it, and nothing else', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, { ...fast, maxReplySize: 10_000 });
    await client.command('SET', 'large', 'x'.repeat(200_000));
    client.on('down', (error) => assert.fail(error.message));
    const all = await Promise.allSettled([
      client.command('ECHO', 'before'),
      client.command('GET', 'large'),
      client.command('EVAL', "return {1, {redis.call('GET', 'large')}, 'x'}", 0),
      client.commandBuffers('ECHO', 'after'),
    ]);
    assert.deepEqual(
      all.map((one) => (one.status === 'fulfilled' ? String(one.value) : (one.reason as RedisError).code)),
      ['before', 'REDIS_REPLY_TOO_LONG', 'REDIS_REPLY_TOO_LONG', 'after'],
    );
    assert.match(
      String((all[1] as PromiseRejectedResult).reason),
      /the reply to GET has more than 10000 bytes \(maxReplySize\)/,
    );
    const got: string[] = [];
    await client.subscribe('news', (message) => got.push(message));
    for (const message of ['a', 'x'.repeat(200_000), 'b']) await client.publish('news', message);
    await until('the messages around it', () => got.length === 2);
    assert.deepEqual(got, ['a', 'b']);
    await client.close();
    await redis.stop();
  });

  test('whatever a server sends ends its connection and not the process; the next one is used', async () => {
    const nested = `${'*1\r\n'.repeat(50_000)}:1\r\n`;
    const message = (payload: string) => `*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${payload}`;
    const hostile = [
      nested,
      '$-5\r\n',
      '*-2\r\n',
      '$5x\r\nhello\r\n',
      '$5\r\nhello!!\r\n',
      ':4x\r\n',
      '+a\rb\r\n',
      '$99999999999999999999\r\n',
      '%1\r\n+a\r\n+b\r\n',
      '+OK\r\n+OK\r\n+OK\r\n',
      `+${'x'.repeat(100_000)}`,
      message('$-5\r\n'),
      message('$-1\r\n'),
      message(':5\r\n'),
      message('$5x\r\nhello\r\n'),
      message('$2\r\nhello\r\n'),
      '*3\r\n$7\r\nmessage\r\n$-9\r\n$1\r\nx\r\n',
      '*4\r\n$8\r\npmessage\r\n*1\r\n:1\r\n$1\r\nc\r\n$1\r\nx\r\n',
    ];
    let connections = 0;
    let bytes = '';
    const server = createServer((socket) => {
      socket.on('error', () => {});
      connections++;
      socket.on('data', (chunk) => {
        const text = chunk.toString();
        const isLogin = text.includes('SETNAME');
        if (isLogin) socket.write('+OK\r\n+PONG\r\n');
        else if (text.includes('ECHO') || text.includes('SUBSCRIBE')) {
          socket.write(bytes === '' ? '+fine\r\n' : bytes);
        }
      });
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const client = new RespClient({ port }, { ...fast, probeInterval: 0 });
    await client.connect();
    for (const text of hostile) {
      bytes = text;
      const isMessage = text.includes('message');
      const before = connections;
      if (isMessage) {
        const subscribing = new RespClient({ port }, { ...fast, probeInterval: 0 });
        subscribing.subscribe('c', () => assert.fail(`a listener was called for ${text}`)).catch(() => {});
        await until(`another connection after ${text}`, () => connections >= before + 2);
        await subscribing.close();
      } else {
        const lost = once(client, 'down');
        await client.command('ECHO', 'x').catch((error) => assert.ok(error instanceof RedisError));
        assert.equal(((await lost)[0] as RedisError).code, 'REDIS_PROTOCOL', text.slice(0, 40));
        bytes = '';
        assert.equal(await client.command('ECHO', 'x'), 'fine', text.slice(0, 40));
      }
    }
    await client.close();
    server.close();
  });

  test('scripts run in the order of the calls, whoever forgets them in between', async () => {
    const redis = await startRedis();
    const client = new RespClient(redis.url, fast);
    const other = new RespClient(redis.url, fast);
    const script = new Script("return redis.call('RPUSH', KEYS[1], ARGV[1])");
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 3000; i++) {
      calls.push(client.evaluate(script, ['order'], [`${i} ${'x'.repeat(200)}`]));
      if (i % 100 === 0) calls.push(other.command('SCRIPT', 'FLUSH'));
      if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(calls);
    const order = (await client.command('LRANGE', 'order', 0, -1)) as string[];
    assert.deepEqual(
      order.map((text) => Number.parseInt(text, 10)),
      Array.from({ length: 3000 }, (_, i) => i),
    );
    await Promise.all([client.close(), other.close()]);
    await redis.stop();
  });

  test('garbage in place of a login is told', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const lost = new RespClient({ port: (server.address() as { port: number }).port }, fast);
    lost.connect().catch(() => {});
    const [error] = await once(lost, 'retry');
    assert.match((error as Error).message, /what came is not RESP2/);
    await lost.close();
    server.close();
  });

  test('a master that became a replica is left, once all have their answers, and waited for without haste', async () => {
    const [redis, other] = await Promise.all([startRedis(), startRedis()]);
    const client = new RespClient(redis.url, fast);
    const watcher = new RespClient(redis.url, fast);
    await client.command('SET', 'k', 'v');
    await watcher.command('REPLICAOF', '127.0.0.1', other.port);
    const down = once(client, 'down');
    const retried = once(client, 'retry');
    const all = await Promise.allSettled([
      client.command('SET', 'k', 'w'),
      client.command('ECHO', 'x'),
      client.command('SET', 'k', 'w'),
    ]);
    assert.deepEqual(
      all.map((one) => (one.status === 'fulfilled' ? one.value : (one.reason as RedisReplyError).prefix)),
      ['READONLY', 'x', 'READONLY'],
    );
    assert.match(((await down)[0] as Error).message, /is a read-only replica/);
    assert.match(((await retried)[0] as Error).message, /is a read-only replica, not a master; retrying in/);
    const waiting = client.command('SET', 'k', 'w');
    await watcher.command('REPLICAOF', 'NO', 'ONE');
    assert.equal(await waiting, 'OK');
    await Promise.all([client.close(), watcher.close()]);
    await Promise.all([redis.stop(), other.stop()]);
  });

  test('a server that takes the login and then fails over and over is asked less and less often', async () => {
    let connections = 0;
    const server = createServer((socket) => {
      socket.on('error', () => {});
      connections++;
      socket.once('data', () => socket.end('+OK\r\n+PONG\r\n'));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = new RespClient(
      { port: (server.address() as { port: number }).port },
      { reconnectMinDelay: 10, reconnectMaxDelay: 60_000 },
    );
    const delays: number[] = [];
    let before = performance.now();
    client.on('ready', () => {
      delays.push(performance.now() - before);
      before = performance.now();
    });
    client.connect().catch(() => {});
    await until('some connections', () => connections === 7);
    // Doubled six times, half of it by chance: at least 320 ms for the seventh.
    assert.ok(delays.reduce((sum, delay) => sum + delay, 0) >= 300, String(delays));
    await client.close();
    server.close();
  });

  test("a refusal is told in the server's words, and the password is not", async () => {
    const answers: Record<string, [string, RegExp]> = {
      full: [
        '-ERR max number of clients reached\r\n',
        /refused the connection: ERR max number of clients reached/,
      ],
      renamed: [
        "-ERR unknown command 'AUTH', with args beginning with: 's3cret!' \r\n",
        /refused the connection: ERR unknown command 'AUTH'/,
      ],
      wrong: ['-WRONGPASS invalid username-password pair\r\n', /refused the user or password \(WRONGPASS/],
      none: [
        '-ERR AUTH <password> called without any password configured for the default user. s3cret!\r\n',
        /refused the user or password \(ERR AUTH/,
      ],
      database: [
        '+OK\r\n+OK\r\n-ERR DB index is out of range\r\n',
        /refused SELECT: ERR DB index is out of range/,
      ],
    };
    for (const [answer, expected] of Object.values(answers)) {
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.once('data', () => socket.end(answer));
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as { port: number };
      const client = new RespClient({ port, password: 's3cret!', database: 77 }, fast);
      client.connect().catch(() => {});
      const [error] = (await once(client, 'retry')) as [Error];
      assert.match(error.message, expected);
      assert.ok(!String(error.stack).includes('s3cret!'), error.message);
      await client.close();
      server.close();
    }
  });

  test('max clients reached is said without a password, too', async () => {
    const redis = await startRedis(['--maxclients', '2']);
    const first = new RespClient(redis.url, fast);
    const second = new RespClient(redis.url, fast);
    await Promise.all([first.connect(), second.connect()]);
    const third = new RespClient(redis.url, fast);
    third.connect().catch(() => {});
    const [error] = (await once(third, 'retry')) as [Error];
    assert.match(error.message, /ERR max number of clients reached/);
    await Promise.all([first.close(), second.close(), third.close()]);
    await redis.stop();
  });
});

test('the forms of a Redis URL, and what is none', async () => {
  const { parseRedisUrl } = await import('../../../src/redis.ts');
  assert.deepEqual(parseRedisUrl('redis://localhost'), { host: 'localhost' });
  assert.deepEqual(parseRedisUrl('redis://:p%40ss@[::1]:6380/2'), {
    host: '::1',
    port: 6380,
    password: 'p@ss',
    database: 2,
  });
  assert.deepEqual(parseRedisUrl('rediss://u:p@h?db=1'), {
    tls: true,
    host: 'h',
    username: 'u',
    password: 'p',
    database: 1,
  });
  assert.deepEqual(parseRedisUrl('redis+unix:///run/redis.sock?db=4'), {
    path: '/run/redis.sock',
    database: 4,
  });
  const bads = [
    'localhost:6379',
    'http://u:secret@x',
    'redis://h/x',
    'nonsense',
    'redis+unix://',
    // What a password with a /, #, ?, @ or % makes of a URL, and other slips.
    'redis://:sec/ret@host',
    'redis://:secret/x@host',
    'redis://secret/x@host',
    'redis://user:12/secret@host',
    'redis://user:12#secret@host',
    'redis://user:12?secret@host',
    'redis://host?password=secret',
    'redis://u:%secret@host',
    'redis:u:secret@host',
    'redis//:secret@host',
    ':secret@host:6379',
    'secret',
    'redis+sentinel://:sec/ret@host/m',
    'redis+cluster://u:secret@@host',
  ];
  for (const bad of bads) {
    assert.throws(
      () => parseRedisUrl(bad),
      (error: Error) => error instanceof TypeError && !/sec|ret@/.test(error.message),
      bad,
    );
  }
});

/** The broker over a PostgreSQL that is killed, full, read-only, of a newer version, or not to be had. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { PostgresError } from '../../../src/pubsub/postgres/errors.ts';
import { schemaText } from '../../../src/pubsub/postgres/schema.ts';
import type { Broker, Receipt } from '../../../src/pubsub/store/broker.ts';
import { type PostgresBrokerOptions, postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { isIn } from '../../../src/waiting.ts';
import { cleanups } from '../../support/cleanups.ts';
import { NO_ROW, startDamagingProxy } from '../../support/damaging-proxy.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { nextChannel, options, Recorder, text } from './broker-suite.ts';

const postgres = { ...needs('postgres'), timeout: 120_000 };
let server: PostgresServer;
before(async () => {
  if (!postgres.skip) server = await startPostgres();
});
after(() => server?.stop());

/** Back at once, and never out of patience with a machine that is slow. */
const fast = { connections: 4, reconnectMinDelay: 10, reconnectMaxDelay: 100, publishMaxWait: 60_000 };

function make(url: string, more: PostgresBrokerOptions = {}): Broker {
  const broker = postgresBroker(url, { ...fast, ...more });
  cleanups.push(() => broker.close());
  return broker;
}

async function open(url: string, more: PostgresBrokerOptions = {}): Promise<[Broker, Recorder]> {
  const recorder = new Recorder();
  const broker = make(url, more);
  await broker.open(recorder);
  return [broker, recorder];
}

const code = (error: unknown): unknown => (error as { code?: unknown }).code;

test(
  'a server that is killed again and again loses, doubles and reorders nothing that has a key',
  postgres,
  async () => {
    const [a, heardA] = await open(server.url);
    const [b] = await open(server.url);
    const channels = Array.from({ length: 8 }, () => nextChannel());
    for (const channel of channels) await a.subscribe(channel);
    const sent: Promise<Receipt>[] = [];
    let isOver = false;
    const sending = (async () => {
      for (let i = 0; !isOver; i++) {
        for (const [c, channel] of channels.entries()) {
          const via = c % 2 ? a : b;
          sent.push(
            via.publish(channel, 'text', text(`${i}`), options({ idempotencyKey: `${channel} ${i}` })),
          );
        }
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    })();
    for (let i = 1; i <= 3; i++) {
      const known = heardA.messages.length;
      await until('messages', () => heardA.messages.length > known + 100);
      await server.kill();
      await server.start();
      await until('it to be back', () => heardA.ups >= i);
    }
    isOver = true;
    await sending;
    const receipts = await Promise.all(sent);
    assert.ok(heardA.downs >= 3);
    for (const channel of channels) {
      const own = receipts.filter((receipt) => receipt.channel === channel);
      // In the order of the calls.
      assert.deepEqual(
        own.map(({ offset }) => offset),
        own.map((_, i) => i + 1),
      );
      let page = await a.read(channel, 0, 1000);
      const messages = [...page.messages];
      while (page.messages.length > 0) {
        page = await a.read(channel, messages.at(-1)!.offset, 1000);
        messages.push(...page.messages);
      }
      const first = own.length - messages.length;
      assert.deepEqual(
        messages.map(({ payload }) => Number(payload)),
        messages.map((_, i) => first + i),
      );
      assert.deepEqual(
        messages.map(({ id }) => id),
        own.slice(first).map(({ id }) => id),
      );
    }
  },
);

test(
  'without a key, a message whose outcome is not known is refused and never stored twice',
  postgres,
  async () => {
    const [broker] = await open(server.url);
    const channel = nextChannel();
    let refused = 0;
    for (let round = 0; round < 3; round++) {
      const all = Array.from({ length: 300 }, (_, i) =>
        broker.publish(channel, 'text', text(`${round} ${i}`), options()),
      );
      await Promise.race(all);
      await server.kill();
      await server.start();
      for (const result of await Promise.allSettled(all)) {
        if (result.status === 'fulfilled') continue;
        refused++;
        assert.equal(code(result.reason), 'POSTGRES_OUTCOME_UNKNOWN');
      }
    }
    const { messages } = await broker.read(channel, 0, 1000);
    const texts = messages.map(({ payload }) => String(payload));
    assert.equal(new Set(texts).size, texts.length);
    assert.ok(texts.length >= 900 - refused);
  },
);

test('sessions that an administrator ends are made again, and nothing is missed', postgres, async () => {
  const [a, heard] = await open(server.url);
  const channel = nextChannel();
  await a.subscribe(channel);
  for (let i = 1; i <= 10; i++) {
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tidings'",
    );
    await until('a message that is heard', async () => {
      const { offset } = await a.publish(
        channel,
        'text',
        text('x'),
        options({ idempotencyKey: `k${i} ${Math.random()}` }),
      );
      return until(
        'it',
        () => heard.messages.some((m) => m.offset === offset) || heard.ups >= i,
        5_000,
      ).catch(() => false);
    });
  }
  await until('it to be back', () => heard.ups >= 1 && heard.told.at(-1) === 'up');
});

test(
  'what is no answer of PostgreSQL ends its connection, not the process, and nothing is missed',
  postgres,
  async () => {
    const proxy = await startDamagingProxy(server.port);
    const [broker, heard] = await open(server.url.replace(`:${server.port}`, `:${proxy.port}`));
    const channel = nextChannel();
    await broker.subscribe(channel);
    for (let n = 1; n <= 3; n++) {
      const known = proxy.damaged;
      proxy.damage(NO_ROW);
      const receipts = await Promise.all(
        Array.from({ length: 50 }, (_, i) =>
          broker.publish(channel, 'text', text(`${i}`), options({ idempotencyKey: `${n} ${i}` })),
        ),
      );
      await until('the damage', () => proxy.damaged > known);
      assert.deepEqual(
        receipts.map(({ offset }) => offset),
        receipts.map((_, i) => (n - 1) * 50 + i + 1),
      );
    }
    const { messages } = await broker.read(channel, 0, 1000);
    assert.equal(messages.length, 150);
    // The connection that listens is back as well.
    await until('something to be heard', async () => {
      await broker.publish(channel, 'text', text('more'), options());
      return heard.messages.at(-1)?.payload.toString() === 'more';
    });
  },
);

test('a disk that is full, and other refusals that pass, are waited for, in order', postgres, async () => {
  const url = await server.database();
  const [broker] = await open(url);
  const channel = nextChannel();
  for (const sqlstate of ['53100', '53200', '58030', '55P03']) {
    await server.query(
      `CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '${sqlstate}'; END $$;
      CREATE TRIGGER refuse BEFORE UPDATE ON tidings.channel FOR EACH ROW EXECUTE FUNCTION refuse()`,
      url,
    );
    const all = Array.from({ length: 20 }, (_, i) =>
      broker.publish(channel, 'text', text(`${i}`), options()),
    );
    await server.query('SELECT pg_sleep(0.1)');
    await server.query('DROP TRIGGER refuse ON tidings.channel', url);
    const offsets = (await Promise.all(all)).map(({ offset }) => offset);
    assert.deepEqual(
      offsets,
      offsets.map((_, i) => offsets[0]! + i),
    );
  }
});

test('what is refused for good is told to be damage, and is told to be over', postgres, async () => {
  const url = await server.database();
  const mended: string[] = [];
  const recorder = Object.assign(new Recorder(), { mended: (message: string) => mended.push(message) });
  const broker = make(url);
  await broker.open(recorder);
  const [bad, good] = [nextChannel(), nextChannel()];
  await broker.publish(bad, 'text', text('x'), options());
  await server.query(
    `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF NEW.name = '${bad}' THEN RAISE EXCEPTION 'broken' USING ERRCODE = '23514'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON tidings.channel FOR EACH ROW EXECUTE FUNCTION refuse()`,
    url,
  );
  // Of one turn, only the one that is damaged fails.
  const [refused, stored] = await Promise.allSettled([
    broker.publish(bad, 'text', text('y'), options()),
    broker.publish(good, 'text', text('y'), options()),
  ]);
  assert.equal(stored.status, 'fulfilled');
  assert.equal(refused.status === 'rejected' && refused.reason.name, 'DamagedChannelError');
  assert.equal(broker.faultCount, 1);
  assert.match(recorder.warnings.join(), /is damaged: broken/);
  await server.query('DROP TRIGGER refuse ON tidings.channel', url);
  await broker.publish(bad, 'text', text('z'), options());
  assert.equal(broker.faultCount, 0);
  assert.equal(mended.length, 1);
});

test('many instances at once make the schema once', postgres, async () => {
  const url = await server.database();
  const all = await Promise.all(Array.from({ length: 10 }, () => open(url, { connections: 2 })));
  const channel = nextChannel();
  await Promise.all(all.map(([broker]) => broker.publish(channel, 'text', text('x'), options())));
  assert.equal((await all[0]![0].read(channel, 0, 100)).messages.length, 10);
  assert.deepEqual(await server.query('SELECT count(*)::int AS n FROM tidings.migration', url), [{ n: 1 }]);
});

test('schemas of one database know nothing of each other, whatever they are called', postgres, async () => {
  const url = await server.database();
  const names = ['tidings', 'other', 'My-Schema', '0', 'select'];
  const all = await Promise.all(names.map((schema) => open(url, { schema, connections: 2 })));
  const channel = nextChannel();
  for (const [broker] of all) await broker.subscribe(channel);
  for (const [i, [broker]] of all.entries())
    await broker.publish(channel, 'text', text(names[i]!), options());
  for (const [i, [, heard]] of all.entries()) {
    await until('its own message', () => heard.messages.length > 0);
    assert.deepEqual(
      heard.messages.map(({ payload }) => String(payload)),
      [names[i]],
    );
  }
});

test('a database of a newer tidings is refused, with what to do', postgres, async () => {
  const url = await server.database();
  await server.query(schemaText('tidings'), url);
  await server.query('INSERT INTO tidings.migration (number, least) VALUES (1000, 1000)', url);
  await assert.rejects(
    open(url),
    (error) => code(error) === 'POSTGRES_SCHEMA' && /number 1000, of a newer tidings/.test(String(error)),
  );
  // One that this one can still use.
  await server.query('UPDATE tidings.migration SET least = 1 WHERE number = 1000', url);
  const [broker] = await open(url);
  await broker.publish(nextChannel(), 'text', text('x'), options());
});

test('a database that is not in UTF8 is refused at once, with what to do', postgres, async () => {
  await server.query(
    `CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
  );
  const url = new URL(server.url);
  url.pathname = '/latin';
  await assert.rejects(
    open(url.href),
    (error) => code(error) === 'POSTGRES_SCHEMA' && /is in LATIN1, and has to be in UTF8/.test(String(error)),
  );
});

test(
  'a role that may not make the schema says what to do, and works with what the owner has made',
  postgres,
  async () => {
    const url = await server.database();
    const own = url.replace('postgres@', 'instance@');
    await server.query('CREATE ROLE instance LOGIN');
    await assert.rejects(
      open(own),
      (error) => code(error) === 'POSTGRES_SCHEMA' && /tidings postgres-schema/.test(String(error)),
    );
    await server.query(schemaText('tidings'), url);
    await server.query(
      'GRANT USAGE ON SCHEMA tidings TO instance; GRANT ALL ON ALL TABLES IN SCHEMA tidings TO instance; ' +
        'GRANT ALL ON ALL SEQUENCES IN SCHEMA tidings TO instance; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tidings TO instance',
      url,
    );
    const [broker] = await open(own);
    const channel = nextChannel();
    // Longer than there are partitions for.
    const retention = { maxMessages: 10, maxAge: 400 * 86_400_000 };
    await broker.publish(channel, 'text', text('x'), options({ retention, idempotencyKey: 'k' }));
    await broker.publish(channel, 'text', text('y'), options({ replaces: 'k', ttl: 1000 }));
    assert.equal((await broker.read(channel, 0, 10)).messages.length, 2);
    // Or a schema that is its own.
    const other = await server.database();
    await server.query('CREATE SCHEMA tidings AUTHORIZATION instance', other);
    const [second] = await open(other.replace('postgres@', 'instance@'));
    await second.publish(channel, 'text', text('x'), options());
  },
);

test('a wrong password is told and tried again, and shown nowhere', postgres, async () => {
  const guarded = await startPostgres();
  cleanups.push(() => guarded.stop());
  await guarded.query("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'right'");
  await guarded.query("ALTER SYSTEM SET hba_file = '/tmp/nowhere'").catch(() => {});
  const { writeFileSync } = await import('node:fs');
  writeFileSync(
    `${guarded.folder}/pg_hba.conf`,
    'host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256\n',
  );
  await guarded.query('ALTER SYSTEM RESET hba_file');
  await guarded.query('SELECT pg_reload_conf()');
  const errors: Error[] = [];
  const recorder = Object.assign(new Recorder(), { down: (error: Error) => errors.push(error) });
  const broker = make(`postgres://app:wr0ng@127.0.0.1:${guarded.port}/postgres`, { publishMaxWait: 200 });
  let isOpen = false;
  const opening = broker.open(recorder).then(() => {
    isOpen = true;
  });
  await until('it to be told', () => errors.length === 1);
  assert.match(errors[0]!.message, /password authentication failed/);
  assert.doesNotMatch(JSON.stringify([errors[0]!.message, errors[0]!.stack]), /wr0ng/);
  await assert.rejects(
    broker.publish('x', 'text', text('x'), options()).finally(() => broker.close()),
    PostgresError,
  );
  await assert.rejects(opening, PostgresError);
  assert.equal(isOpen, false);
});

test('a server without room for more connections is waited for', postgres, async () => {
  const small = await startPostgres({
    settings: ['max_connections = 8', 'superuser_reserved_connections = 3'],
  });
  cleanups.push(() => small.stop());
  await small.query('CREATE ROLE app LOGIN; ALTER DATABASE postgres OWNER TO app');
  const url = small.url.replace('postgres@', 'app@');
  const { Client } = (await import('pg')).default;
  const others = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const client = new Client({ connectionString: url });
      await client.connect();
      return client;
    }),
  );
  const recorder = new Recorder();
  const broker = make(url, { connections: 4, queueMaxWait: 200 });
  const opening = broker.open(recorder);
  await until('it to be told', () => recorder.downs + recorder.warnings.length > 0);
  await Promise.all(others.map((client) => client.end()));
  await opening;
  const channel = nextChannel();
  await Promise.all(Array.from({ length: 50 }, () => broker.publish(channel, 'text', text('x'), options())));
});

test(
  'where a role has too few connections, the one that listens gets one of those that are idle',
  postgres,
  async () => {
    const url = await server.database();
    await server.query('CREATE ROLE few LOGIN');
    await server.query(`GRANT CREATE ON DATABASE ${new URL(url).pathname.slice(1)} TO few`);
    const [broker, told] = await open(url.replace('postgres@', 'few@'));
    const channel = nextChannel();
    const sessions = async (): Promise<number> =>
      (await server.query("SELECT FROM pg_stat_activity WHERE usename = 'few'")).length;
    await until('as many as there can be', async () => {
      const all = Array.from({ length: 300 }, (_, i) =>
        broker.publish(`${channel} ${i}`, 'text', text('x'), options()),
      );
      await Promise.all(all);
      return (await sessions()) >= 5;
    });
    // From now on there is one place less than there are sessions.
    await server.query(`ALTER ROLE few CONNECTION LIMIT ${(await sessions()) - 1}`);
    await server.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few' AND query ~ 'LISTEN|ring'",
    );
    await until('it to be told', () => told.downs > 0);
    await until('it to be back', () => told.ups === told.downs);
    await broker.subscribe(channel);
    await broker.publish(channel, 'text', text('x'), options());
    await until('it', () => told.messages.length === 1);
  },
);

test('where to listen has to be the same database, which is seen', postgres, async () => {
  const [url, other] = [await server.database(), await server.database()];
  const recorder = new Recorder();
  const broker = make(url, { listenOn: other, probeTimeout: 500 });
  await Promise.race([broker.open(recorder), until('it to be told', () => recorder.downs > 0)]);
  await until('it to be told', () => recorder.downs > 0);
  const [right, heard] = await open(url, { listenOn: url });
  const channel = nextChannel();
  await right.subscribe(channel);
  await right.publish(channel, 'text', text('x'), options());
  await until('it', () => heard.messages.length === 1);
});

test('a database whose network is gone keeps nobody from closing', postgres, async () => {
  const sockets: Socket[] = [];
  // It hears the end of neither side, as no network would tell it.
  const network = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect(Number(new URL(server.url).port), '127.0.0.1');
    client.pipe(upstream).pipe(client);
    for (const socket of [client, upstream]) sockets.push(socket.on('error', () => {}));
  });
  await once(network.listen(0, '127.0.0.1'), 'listening');
  cleanups.push(async () => {
    for (const socket of sockets) socket.destroy();
    network.close();
  });
  const url = new URL(server.url);
  url.port = String((network.address() as AddressInfo).port);
  const [broker] = await open(url.href);
  await broker.publish(nextChannel(), 'text', text('one'), options());
  for (const socket of sockets) socket.unpipe().resume();
  assert.ok(await isIn(broker.close(), 10_000), 'it is not closed');
});

/** The control log, the same on every broker: what it promises whoever says a command, and when a lease is over. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { TcpProxy } from '../../../src/prove/proxy.ts';
import { PostgresLink } from '../../../src/pubsub/postgres/link.ts';
import { resolvePostgresOptions } from '../../../src/pubsub/postgres/options.ts';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import {
  type ControlCommand,
  type ControlListener,
  MAX_RECORDS,
  UnconfirmedError,
} from '../../../src/pubsub/store/control.ts';
import type { LeaseReply, Place } from '../../../src/pubsub/store/control-store.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { PostgresControl } from '../../../src/pubsub/store/postgres-control.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { LAYOUT } from '../../../src/pubsub/store/versions.ts';
import { startEveryRedis } from '../../support/every-redis.ts';
import { until } from '../../support/net.ts';
import { ask } from '../../support/redis-groups.ts';
import { Recorder } from './broker-suite.ts';
import {
  type ControlServer,
  type ControlServerKind,
  controlServers,
  stopControlServers,
} from './control-servers.ts';

const LEASE = 600;
/** One that does not end where a machine is busy with others for a second: for who counts on the leases of all. */
const LONG_LEASE = 2_000;
const QUICK = {
  reconnectMinDelay: 20,
  reconnectMaxDelay: 100,
  commandTimeout: 1000,
  probeInterval: 500,
  probeTimeout: 500,
};

/** An instance that remembers what it was told. */
class Instance extends Recorder {
  readonly lease: number;
  readonly commands: ControlCommand[] = [];
  lapses = 0;
  misses = 0;
  readonly control: ControlListener;

  constructor(name: string, returns: number, lease: number) {
    super();
    this.lease = lease;
    this.control = {
      name,
      obey: (command) => {
        this.commands.push(command);
        return returns;
      },
      lapsed: () => {
        this.lapses++;
      },
      missed: () => {
        this.misses++;
      },
    };
  }

  /** Of those that somebody has said. */
  bodies(): unknown[] {
    return this.commands.filter(({ kind }) => kind !== 'restored').map(({ body }) => body);
  }
}

interface Running {
  instance: Instance;
  broker: Broker;
}

type Make = () => Broker;

async function start(make: Make, name: string, returns = 1, lease = LEASE): Promise<Running> {
  const instance = new Instance(name, returns, lease);
  const broker = make();
  await broker.open(instance);
  return { instance, broker };
}

async function pair(make: Make, play: (a: Running, b: Running) => Promise<void>): Promise<void> {
  const a = await start(make, 'a', 1, LONG_LEASE);
  const b = await start(make, 'b', 2, LONG_LEASE);
  try {
    await play(a, b);
  } finally {
    await Promise.all([a.broker.close(), b.broker.close()]);
  }
}

function suite(name: string, make: Make, skip: string | false): void {
  const promise = (title: string, play: (a: Running, b: Running) => Promise<void>) =>
    test(`${name}: ${title}`, { skip, timeout: 60_000 }, () => pair(make, play));

  promise(
    'a command is carried out by all before `say` resolves, with the sum of what they returned',
    async (a, b) => {
      const body = { user: 'alice', text: 'grüße 你好 "🎉"\n', list: [1, null] };
      assert.equal(await a.broker.control.say('end', body), 3);
      for (const { instance, broker } of [a, b]) {
        assert.deepEqual(instance.bodies(), [body]);
        assert.deepEqual(
          instance.commands.map(({ kind }) => kind),
          ['end'],
        );
        assert.deepEqual(broker.control.mark, a.broker.control.mark);
        assert.ok(broker.control.mayDeliver());
      }
    },
  );

  promise('a hundred at once from both come to both in one order, each once', async (a, b) => {
    const said = Array.from({ length: 100 }, (_, i) => (i % 2 ? a : b).broker.control.say('n', { i }));
    assert.deepEqual(new Set(await Promise.all(said)), new Set([3]));
    assert.equal(a.instance.commands.length, 100);
    assert.deepEqual(a.instance.bodies(), b.instance.bodies());
    assert.deepEqual(
      new Set(a.instance.bodies().map((body) => (body as { i: number }).i)),
      new Set(Array.from({ length: 100 }, (_, i) => i)),
    );
  });

  promise('records are known to all, also to who comes later; they end, and are removed', async (a, b) => {
    const forEver = { value: '{"a":1}', until: Number.POSITIVE_INFINITY };
    const soon = { value: 'soon over', until: Date.now() + 700 };
    await a.broker.control.say('set', {}, { change: { key: 'block user alice', record: forEver } });
    await b.broker.control.say('set', {}, { change: { key: 'block user bob', record: soon } });
    await b.broker.control.say('set', {}, { change: { key: 'gone', record: forEver } });
    await a.broker.control.say('set', {}, { change: { key: 'gone', record: undefined } });
    const c = await start(make, 'c');
    try {
      for (const { broker } of [a, b, c]) {
        assert.deepEqual(broker.control.record('block user alice'), forEver);
        assert.equal(broker.control.record('gone'), undefined);
        assert.equal(broker.control.record('block user'), undefined);
      }
      assert.deepEqual(c.instance.bodies(), []);
      await until('the end of a record', () =>
        [a, b, c].every(({ broker }) => broker.control.record('block user bob') === undefined),
      );
      assert.deepEqual([...c.broker.control.records()], [['block user alice', forEver]]);
      await a.broker.control.say('set', {}, { change: { key: 'block user alice', record: undefined } });
    } finally {
      await c.broker.close();
    }
  });

  promise('who has left is not waited for', async (a, b) => {
    await a.broker.control.say('end', {});
    await b.broker.close();
    const start = performance.now();
    assert.equal(await a.broker.control.say('end', {}), 1);
    assert.ok(performance.now() - start < LONG_LEASE, 'it has waited for a lease');
  });
}

const store = new MemoryStore();
suite('memory', () => memoryBroker(store), false);

const { skip, targets } = startEveryRedis();
for (const [name, target] of Object.entries(targets)) suite(name, () => redisBroker(target(), QUICK), skip);

const [inRedis, inPostgres] = controlServers as [ControlServerKind, ControlServerKind];
let postgres: ControlServer | undefined;
before(async () => {
  if (inPostgres.need.skip === false) postgres = await inPostgres.begin();
});
after(stopControlServers);
suite('PostgreSQL', () => postgres!.broker(postgres!.port), inPostgres.need.skip);

test('a memory store takes so many records and no more', () => {
  const control = memoryBroker().control;
  const until = Number.POSITIVE_INFINITY;
  const says = Array.from({ length: MAX_RECORDS }, (_, i) =>
    control.say('set', {}, { change: { key: `k${i}`, record: { value: '', until } } }),
  );
  return Promise.all(says).then(async () => {
    const change = { key: 'one more', record: { value: '', until } };
    await assert.rejects(control.say('set', {}, { change }), RangeError);
    await control.say('set', {}, { change: { key: 'k1', record: { value: 'again', until } } });
    await control.say('set', {}, { change: { key: 'k1', record: undefined } });
    await control.say('set', {}, { change });
  });
});

// ── what only a server can do ──────────────────────────────────────────────────────────────────────

/** Two instances over one server: `b` through a proxy. */
async function apart(
  kind: ControlServerKind,
  play: (a: Running, b: Running, proxy: TcpProxy, server: ControlServer) => Promise<void>,
  lease = LEASE,
): Promise<void> {
  const server = await kind.begin();
  const proxy = await TcpProxy.start(() => [server.port]);
  proxy.label = (chunk) => (server.isListener(chunk.toString('latin1')) ? 'subscriber' : undefined);
  const a = await start(() => server.broker(server.port), 'a', 1, lease);
  const b = await start(() => server.broker(proxy.port), 'b', 2, lease);
  try {
    // The first one waits for as long as a lease, as the store has only just begun.
    await a.broker.control.say('first', {});
    await play(a, b, proxy, server);
  } finally {
    await Promise.all([a.broker.close(), b.broker.close()]);
    await proxy.close();
    await server.stop();
  }
}

for (const kind of controlServers) {
  const promise = (
    title: string,
    play: (a: Running, b: Running, proxy: TcpProxy, server: ControlServer) => Promise<void>,
    lease = LEASE,
  ) => test(`${kind.name}: ${title}`, { ...kind.need, timeout: 60_000 }, () => apart(kind, play, lease));

  promise(
    'who is cut off delivers nothing by the time at which the command counts as said',
    async (a, b, proxy) => {
      proxy.freeze();
      proxy.refuses = true;
      const start = performance.now();
      assert.equal(await a.broker.control.say('end', { n: 1 }), 1);
      assert.equal(b.broker.control.mayDeliver(), false);
      assert.equal(b.instance.lapses, 1);
      assert.equal(b.instance.downs, 1);
      assert.ok(performance.now() - start < 2 * LONG_LEASE + 500);
      proxy.refuses = false;
      await until('its return', () => b.instance.ups === 1);
      assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
      assert.ok(b.broker.control.mayDeliver());
    },
    LONG_LEASE,
  );

  promise(
    'who hears no doorbell carries it out nevertheless',
    async (a, b, proxy) => {
      proxy.freeze({ label: 'subscriber' });
      assert.equal(await a.broker.control.say('end', { n: 1 }), 3);
      assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
    },
    LONG_LEASE,
  );

  promise(
    'it names the instance that is the reason, and the store where that is it',
    async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      // Where this process stands still meanwhile, nobody has been asked who it is: as long as its lease lasts, again.
      const error = await until('somebody to be named', async () => {
        const said = a.broker.control.say('end', {}, { timeout: LEASE / 4 });
        const reason = await said.then(
          () => assert.fail('it was confirmed'),
          (error) => error,
        );
        assert.ok(reason instanceof UnconfirmedError);
        return reason.instances.length > 0 && reason;
      });
      assert.deepEqual(error.instances, ['b']);
      assert.match(error.message, /\bb\b/);
      proxy.refuses = false;
      await until('its return', () => b.broker.control.mayDeliver());
      await server.kill();
      await assert.rejects(a.broker.control.say('end', {}, { timeout: 300 }), (error: UnconfirmedError) => {
        assert.ok(error instanceof UnconfirmedError);
        assert.deepEqual(error.instances, []);
        return true;
      });
      await until('the lease to be over', () => !a.broker.control.mayDeliver());
      await server.start();
      await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
    },
    LONG_LEASE,
  );

  promise('a store that has lost all is told again what is known', async (a, b, _proxy, server) => {
    const record = { value: 'why', until: Number.POSITIVE_INFINITY };
    await a.broker.control.say('set', { n: 1 }, { change: { key: 'k', record } });
    await a.broker.control.say('set', { n: 2 }, { change: { key: 'lifted', record } });
    await a.broker.control.say('set', { n: 3 }, { change: { key: 'lifted', record: undefined } });
    const before = [a.instance.ups, b.instance.ups];
    await server.loseAll();
    await until('both to be back', () => [a, b].every(({ instance }, i) => instance.ups > before[i]!));
    await b.broker.control.say('end', { n: 4 });
    const c = await start(() => server.broker(server.port), 'c');
    for (const { broker } of [a, b, c]) {
      assert.deepEqual(broker.control.record('k'), record);
      assert.equal(broker.control.record('lifted'), undefined);
    }
    await c.broker.close();
    // Nobody carries out again what he has.
    for (const { instance } of [a, b]) {
      const said = instance.commands.filter(({ kind }) => kind !== 'restored').map(({ body }) => body);
      assert.deepEqual(said, [{}, { n: 1 }, { n: 2 }, { n: 3 }, { n: 4 }]);
    }
  });

  promise('a command that the store has lost comes back with who knows it', async (a, b, proxy, server) => {
    proxy.freeze();
    proxy.refuses = true;
    await a.broker.control.say('end', { n: 1 });
    await server.loseNewest();
    await until('somebody to notice', async () => (await server.count()) === 2);
    proxy.refuses = false;
    await until('its return', () => b.broker.control.mayDeliver());
    assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
    assert.deepEqual(a.instance.bodies(), [{}, { n: 1 }]);
  });

  promise(
    'who comes back when what he has missed is not kept any more is told so',
    async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      const record = { value: 'why', until: Number.POSITIVE_INFINITY };
      await a.broker.control.say('set', {}, { change: { key: 'k', record } });
      await a.broker.control.say('end', {});
      await server.trim();
      proxy.refuses = false;
      await until('its return', () => b.broker.control.mayDeliver());
      assert.equal(b.instance.misses, 1);
      assert.deepEqual(b.broker.control.record('k'), record);
      assert.equal(await a.broker.control.say('end', { n: 3 }), 3);
      assert.deepEqual(b.instance.bodies(), [{}, { n: 3 }]);
    },
    LONG_LEASE,
  );

  promise(
    'who was cut off from a store that has lost all waits for those who know what was said',
    async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      const record = { value: 'why', until: Number.POSITIVE_INFINITY };
      await a.broker.control.say('end', { n: 1 }, { change: { key: 'k', record } });
      await server.kill();
      await until(
        'both without a lease',
        () => !a.broker.control.mayDeliver() && !b.broker.control.mayDeliver(),
      );
      await server.loseAll();
      proxy.refuses = false;
      await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
      assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
      assert.deepEqual(b.broker.control.record('k'), record);
      assert.ok(b.instance.commands.some(({ kind }) => kind === 'restored'));
    },
  );

  promise(
    'so many records are kept and no more, of which those that are over make room',
    async (a, _b, _proxy, server) => {
      const record = { value: 'why', until: Number.POSITIVE_INFINITY };
      const change = (key: string, to: typeof record | undefined) =>
        a.broker.control.say('set', {}, { change: { key, record: to } });
      const set = (key: string) => change(key, record);
      // One of them is over.
      await server.fill(MAX_RECORDS - 1);
      await set('the last');
      await set('in place of the one that is over');
      await assert.rejects(set('too many'), RangeError);
      await change('the last', { ...record, value: 'another reason' });
      await change('k1', undefined);
      await change('k1', undefined);
      await set('in place of the one that was removed');
      await assert.rejects(set('too many'), RangeError);
    },
  );

  promise(
    'a clock that is set back keeps no command waiting longer than a lease',
    async (a, _b, _proxy, server) => {
      await server.setBack('dead');
      const start = performance.now();
      assert.equal(await a.broker.control.say('end', { n: 1 }), 3);
      // He counts as there for a lease from when that was noticed.
      assert.ok(performance.now() - start > LONG_LEASE - 10);
    },
    LONG_LEASE,
  );

  promise('nor those who come back to a store that has lost something', async (a, b, proxy, server) => {
    proxy.freeze();
    proxy.refuses = true;
    await a.broker.control.say('end', { n: 1 });
    await server.loseNewest();
    await until('somebody to notice', async () => (await server.count()) === 2);
    await server.setBack('dead');
    proxy.refuses = false;
    await until('its return', () => b.broker.control.mayDeliver());
    assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
  });

  promise(
    'who may deliver does so no more once the store has stood still for a lease',
    async (a, b, _proxy, server) => {
      await until('both to deliver', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
      const before = [a.instance.lapses, b.instance.lapses];
      server.signal('SIGSTOP');
      try {
        await until('leases to be over', () => [a, b].every(({ broker }) => !broker.control.mayDeliver()));
        assert.deepEqual(
          [a.instance.lapses, b.instance.lapses],
          before.map((lapses) => lapses + 1),
        );
        await assert.rejects(a.broker.control.say('end', {}, { timeout: 200 }), UnconfirmedError);
      } finally {
        server.signal('SIGCONT');
      }
      await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
      await a.broker.control.say('end', { n: 2 });
      for (const { instance } of [a, b]) assert.deepEqual(instance.bodies().at(-1), { n: 2 });
    },
  );
}

// ── what only Redis can do ─────────────────────────────────────────────────────────────────────────

test('a server that is full lets those deliver who have a lease', { skip, timeout: 60_000 }, () =>
  apart(inRedis, async (a, b, _proxy, server) => {
    await ask(server, 'CONFIG', 'SET', 'maxmemory', 1);
    const renewed = async (): Promise<number> =>
      Number(String(await ask(server, 'INFO', 'commandstats')).match(/cmdstat_evalsha:calls=(\d+)/)![1]);
    const downs = (): number => a.instance.downs + b.instance.downs;
    // Where this process is held up for longer than a lease, it has none for a while: then another stretch must do.
    let [calls, before] = [await renewed(), downs()];
    await until('renewals in a row', async () => {
      if (downs() !== before) [calls, before] = [await renewed(), downs()];
      return (await renewed()) > calls + 12 && downs() === before;
    });
    await until('both to deliver', () => a.broker.control.mayDeliver() && b.broker.control.mayDeliver());
    await assert.rejects(a.broker.control.say('end', {}, { timeout: 300 }), UnconfirmedError);
    await ask(server, 'CONFIG', 'SET', 'maxmemory', 0);
    assert.equal(await a.broker.control.say('end', {}), 3);
  }),
);

test(
  'what somebody else has made of its keys is told, and over when it is removed',
  { skip, timeout: 60_000 },
  () =>
    apart(
      inRedis,
      async (a, b, _proxy, server) => {
        await ask(server, 'SET', '{tidings:control\n}:leases', 'nonsense');
        await until('leases to be over', () => [a, b].every(({ broker }) => !broker.control.mayDeliver()));
        for (const { instance } of [a, b]) {
          const [warning, ...more] = instance.warnings;
          assert.match(warning!, /^no lease, so nothing is delivered: .*WRONGTYPE/);
          assert.deepEqual(more, []);
        }
        await assert.rejects(a.broker.control.say('end', {}, { timeout: 300 }), /WRONGTYPE/);
        await ask(server, 'DEL', '{tidings:control\n}:leases');
        await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
        await ask(server, 'RPUSH', '{tidings:control\n}:log', 'nonsense');
        await ask(server, 'HINCRBY', '{tidings:control\n}:state', 'top', 1);
        assert.equal(await b.broker.control.say('end', { n: 2 }), 3);
        assert.deepEqual(a.instance.bodies().at(-1), { n: 2 });
      },
      LONG_LEASE,
    ),
);

// ── what only PostgreSQL can do ────────────────────────────────────────────────────────────────────

async function clientOf({ url }: ControlServer): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return client;
}

async function sql(server: ControlServer, text: string): Promise<void> {
  const client = await clientOf(server);
  await client.query(text);
  await client.end();
}

test(
  'PostgreSQL: who reads a long answer slowly holds nobody up',
  { ...inPostgres.need, timeout: 60_000 },
  () =>
    apart(inPostgres, async (a, b, proxy) => {
      proxy.freeze();
      proxy.refuses = true;
      const long = 'x'.repeat(200_000);
      for (let n = 0; n < 40; n++) await a.broker.control.say('end', { long });
      // It stands still while what it has missed is on its way: more than the kernel keeps for it.
      proxy.refuses = false;
      proxy.rate = 1000;
      await until('its return to the server', () => proxy.size > 0);
      for (let n = 0; n < 5; n++)
        assert.ok((await a.broker.control.say('end', { n }, { timeout: 5_000 })) >= 1);
      assert.ok(a.broker.control.mayDeliver());
      proxy.rate = Number.POSITIVE_INFINITY;
      proxy.cut();
      await until('its return', () => b.broker.control.mayDeliver());
      assert.equal(b.instance.bodies().length, a.instance.bodies().length);
    }),
);

test(
  'PostgreSQL: who is so slow that what he asks for is dropped before he asks is told that he has missed it',
  { ...inPostgres.need, timeout: 60_000 },
  () =>
    apart(inPostgres, async (a, _b, _proxy, server) => {
      const link = new PostgresLink(resolvePostgresOptions(server.url), 'tidings');
      await new Promise<void>((resolve) => link.open({ lost() {}, whole: resolve }));
      let before = async (): Promise<void> => {};
      const urgent: PostgresLink['urgent'] = async (statement, values, milliseconds) => {
        if (statement.name === 'control_after') await before();
        return link.urgent(statement, values, milliseconds);
      };
      const control = new PostgresControl(Object.assign(Object.create(link), { urgent }));
      const lease = async (place: Place): Promise<LeaseReply & { status: 'ok' | 'missed' }> => {
        const about = { instance: 'c', name: 'c', length: LEASE, most: 10, layout: LAYOUT };
        const reply = await control.lease({ ...about, place, counts: [] });
        assert.ok(reply.status === 'ok' || reply.status === 'missed', reply.status);
        return reply;
      };
      let { place } = await lease({ epoch: '', number: 0, id: '' });
      for (const isKept of [true, false]) {
        for (let n = 0; n < 3; n++) await a.broker.control.say('end', { n });
        const kept = isKept ? 'SELECT top FROM tidings.control' : 'SELECT top + 1 FROM tidings.control';
        before = async () => {
          before = async () => {};
          await sql(server, `DELETE FROM tidings.control_log WHERE number < (${kept})`);
        };
        const reply = await lease(place);
        assert.equal(reply.status, 'missed');
        assert.deepEqual(reply.entries, []);
        assert.equal(reply.place.number, place.number + 3);
        place = reply.place;
      }
      await link.close();
    }),
);

test(
  'PostgreSQL: what commands were about is forgotten after a while',
  { ...inPostgres.need, timeout: 60_000 },
  () =>
    apart(inPostgres, async (a, _b, _proxy, server) => {
      await sql(server, "INSERT INTO tidings.control_count VALUES ('old', 'dead', 0, 1)");
      await Promise.all(Array.from({ length: 100 }, (_, n) => a.broker.control.say('end', { n })));
      const client = await clientOf(server);
      const { rows } = await client.query('SELECT command FROM tidings.control_count WHERE time = 0');
      await client.end();
      assert.deepEqual(rows, []);
    }),
);

test(
  'PostgreSQL: leases are renewed while all that is asked waits for a lock',
  { ...inPostgres.need, timeout: 60_000 },
  () =>
    apart(
      inPostgres,
      async (a, b, _proxy, server) => {
        const options = { retention: { maxMessages: 10, maxAge: 60_000 } };
        await a.broker.publish('held', 'text', Buffer.from('1'), options);
        const other = await clientOf(server);
        await other.query('BEGIN');
        await other.query('SELECT * FROM tidings.channel FOR UPDATE');
        const stored = Array.from({ length: 30 }, (_, n) =>
          a.broker.publish(n % 2 ? 'held' : `more ${n}`, 'text', Buffer.from('2'), options).catch(() => {}),
        );
        const before = [a.instance.downs, b.instance.downs];
        const end = performance.now() + 3 * LONG_LEASE;
        await until('three leases to pass', () => performance.now() > end);
        assert.deepEqual([a.instance.downs, b.instance.downs], before);
        await other.end();
        await Promise.all(stored);
      },
      LONG_LEASE,
    ),
);

test(
  'PostgreSQL: a part of it that is not there is told, and over when it is',
  { ...inPostgres.need, timeout: 60_000 },
  () =>
    apart(inPostgres, async (a, b, _proxy, server) => {
      await sql(server, 'ALTER TABLE tidings.control_lease RENAME TO elsewhere');
      await until('leases to be over', () => [a, b].every(({ broker }) => !broker.control.mayDeliver()));
      for (const { instance } of [a, b])
        assert.match(instance.warnings[0]!, /^no lease, so nothing is delivered: .*control_lease/);
      await assert.rejects(a.broker.control.say('end', {}, { timeout: 300 }), /control_lease/);
      await sql(server, 'ALTER TABLE tidings.elsewhere RENAME TO control_lease');
      await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
      await b.broker.control.say('end', { n: 2 });
      assert.deepEqual(a.instance.bodies().at(-1), { n: 2 });
    }),
);

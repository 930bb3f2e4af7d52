/** The control log, the same on every broker: what it promises whoever says a command, and when a lease is over. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import {
  type ControlCommand,
  type ControlListener,
  MAX_RECORDS,
  UnconfirmedError,
} from '../../../src/pubsub/store/control.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { TcpProxy } from '../../chaos/proxy.ts';
import { startEveryRedis } from '../../support/every-redis.ts';
import { until } from '../../support/net.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import { Recorder } from './broker-suite.ts';

const LEASE = 600;
const QUICK = {
  reconnectMinDelay: 20,
  reconnectMaxDelay: 100,
  commandTimeout: 1000,
  probeInterval: 500,
  probeTimeout: 500,
};

/** An instance that remembers what it was told. */
class Instance extends Recorder {
  readonly lease = LEASE;
  readonly commands: ControlCommand[] = [];
  lapses = 0;
  misses = 0;
  readonly control: ControlListener;

  constructor(name: string, returns = 1) {
    super();
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

async function start(make: Make, name: string, returns = 1): Promise<Running> {
  const instance = new Instance(name, returns);
  const broker = make();
  await broker.open(instance);
  return { instance, broker };
}

async function pair(make: Make, play: (a: Running, b: Running) => Promise<void>): Promise<void> {
  const a = await start(make, 'a', 1);
  const b = await start(make, 'b', 2);
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
    assert.ok(performance.now() - start < LEASE, 'it has waited for a lease');
  });
}

const store = new MemoryStore();
suite('memory', () => memoryBroker(store), false);

const { skip, targets } = startEveryRedis();
for (const [name, target] of Object.entries(targets)) suite(name, () => redisBroker(target(), QUICK), skip);

// ── what only Redis can do ─────────────────────────────────────────────────────────────────────────

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

/** Two instances over one Redis: `b` through a proxy. */
async function apart(
  play: (a: Running, b: Running, proxy: TcpProxy, server: RedisServer) => Promise<void>,
): Promise<void> {
  const server = await startRedis();
  const proxy = await TcpProxy.start(() => [server.port]);
  proxy.label = (chunk) => (/\bSUBSCRIBE\b/i.test(chunk.toString('latin1')) ? 'subscriber' : undefined);
  const a = await start(() => redisBroker(server.url, QUICK), 'a', 1);
  const b = await start(() => redisBroker(`redis://127.0.0.1:${proxy.port}`, QUICK), 'b', 2);
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

test(
  'who is cut off delivers nothing by the time at which the command counts as said',
  { skip, timeout: 60_000 },
  () =>
    apart(async (a, b, proxy) => {
      proxy.freeze();
      proxy.refuses = true;
      const start = performance.now();
      assert.equal(await a.broker.control.say('end', { n: 1 }), 1);
      assert.equal(b.broker.control.mayDeliver(), false);
      assert.equal(b.instance.lapses, 1);
      assert.equal(b.instance.downs, 1);
      assert.ok(performance.now() - start < 2 * LEASE + 500);
      proxy.refuses = false;
      await until('its return', () => b.instance.ups === 1);
      assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
      assert.ok(b.broker.control.mayDeliver());
    }),
);

test('who hears no doorbell carries it out nevertheless', { skip, timeout: 60_000 }, () =>
  apart(async (a, b, proxy) => {
    proxy.freeze({ label: 'subscriber' });
    assert.equal(await a.broker.control.say('end', { n: 1 }), 3);
    assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
  }),
);

test(
  'it names the instance that is the reason, and the store where that is it',
  { skip, timeout: 60_000 },
  () =>
    apart(async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      await assert.rejects(
        a.broker.control.say('end', {}, { timeout: LEASE / 4 }),
        (error: UnconfirmedError) => {
          assert.ok(error instanceof UnconfirmedError);
          assert.deepEqual(error.instances, ['b']);
          assert.match(error.message, /\bb\b/);
          return true;
        },
      );
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
    }),
);

test('a store that has lost all is told again what is known', { skip, timeout: 60_000 }, () =>
  apart(async (a, b, _proxy, server) => {
    const record = { value: 'why', until: Number.POSITIVE_INFINITY };
    await a.broker.control.say('set', { n: 1 }, { change: { key: 'k', record } });
    await a.broker.control.say('set', { n: 2 }, { change: { key: 'lifted', record } });
    await a.broker.control.say('set', { n: 3 }, { change: { key: 'lifted', record: undefined } });
    await server.kill();
    await server.start();
    await until('both to be back', () => [a, b].every(({ instance }) => instance.ups === 1));
    await b.broker.control.say('end', { n: 4 });
    const c = await start(() => redisBroker(server.url, QUICK), 'c');
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
  }),
);

test('a command that the store has lost comes back with who knows it', { skip, timeout: 60_000 }, () =>
  apart(async (a, b, proxy, server) => {
    const position = await ask(server, 'HGET', '{tidings:control\n}:state', 'top');
    proxy.freeze();
    proxy.refuses = true;
    await a.broker.control.say('end', { n: 1 });
    // As a replica that lacks the newest command.
    await ask(server, 'RPOP', '{tidings:control\n}:log');
    await ask(server, 'HSET', '{tidings:control\n}:state', 'top', String(position));
    await until(
      'somebody to notice',
      async () => (await ask(server, 'LLEN', '{tidings:control\n}:log')) === 2,
    );
    proxy.refuses = false;
    await until('its return', () => b.broker.control.mayDeliver());
    assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
    assert.deepEqual(a.instance.bodies(), [{}, { n: 1 }]);
  }),
);

test(
  'who comes back when what he has missed is not kept any more is told so',
  { skip, timeout: 60_000 },
  () =>
    apart(async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      const record = { value: 'why', until: Number.POSITIVE_INFINITY };
      await a.broker.control.say('set', {}, { change: { key: 'k', record } });
      await a.broker.control.say('end', {});
      await ask(server, 'LTRIM', '{tidings:control\n}:log', 1, 0);
      proxy.refuses = false;
      await until('its return', () => b.broker.control.mayDeliver());
      assert.equal(b.instance.misses, 1);
      assert.deepEqual(b.broker.control.record('k'), record);
      assert.equal(await a.broker.control.say('end', { n: 3 }), 3);
      assert.deepEqual(b.instance.bodies(), [{}, { n: 3 }]);
    }),
);

test('a server that is full lets those deliver who have a lease', { skip, timeout: 60_000 }, () =>
  apart(async (a, b, _proxy, server) => {
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
  'who was cut off from a store that has lost all waits for those who know what was said',
  {
    skip,
    timeout: 60_000,
  },
  () =>
    apart(async (a, b, proxy, server) => {
      proxy.freeze();
      proxy.refuses = true;
      const record = { value: 'why', until: Number.POSITIVE_INFINITY };
      await a.broker.control.say('end', { n: 1 }, { change: { key: 'k', record } });
      await server.kill();
      await until(
        'both without a lease',
        () => !a.broker.control.mayDeliver() && !b.broker.control.mayDeliver(),
      );
      await server.start();
      proxy.refuses = false;
      await until('both to be back', () => [a, b].every(({ broker }) => broker.control.mayDeliver()));
      assert.deepEqual(b.instance.bodies(), [{}, { n: 1 }]);
      assert.deepEqual(b.broker.control.record('k'), record);
      assert.ok(b.instance.commands.some(({ kind }) => kind === 'restored'));
    }),
);

test(
  'what somebody else has made of its keys is told, and over when it is removed',
  { skip, timeout: 60_000 },
  () =>
    apart(async (a, b, _proxy, server) => {
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
    }),
);

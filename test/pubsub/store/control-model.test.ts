/**
 * The control log over whatever happens to instances in between: they stand still, their questions or answers are late or
 * lost, no doorbell rings. At any moment, whoever may deliver has carried out all that was promised until then.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { PostgresLink } from '../../../src/pubsub/postgres/link.ts';
import { resolvePostgresOptions } from '../../../src/pubsub/postgres/options.ts';
import { migrate } from '../../../src/pubsub/postgres/schema.ts';
import { topologyOf } from '../../../src/pubsub/redis/target.ts';
import type { ControlStore } from '../../../src/pubsub/store/control-store.ts';
import { Faults } from '../../../src/pubsub/store/faults.ts';
import { LeasedControl } from '../../../src/pubsub/store/leased-control.ts';
import { PostgresControl } from '../../../src/pubsub/store/postgres-control.ts';
import { RedisControl } from '../../../src/pubsub/store/redis-control.ts';
import { until } from '../../support/net.ts';
import { startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';

const INSTANCES = 3;
/** Milliseconds. */
const LEASE = 60;

/** What happens to an instance's calls: they are answered, wait before they are sent, are executed and the answer waits or is lost. */
type Way = 'open' | 'held' | 'answers held' | 'answers lost';

type Action =
  | { type: 'say'; by: number }
  | { type: 'way'; of: number; way: Way }
  | { type: 'ring'; at: number }
  | { type: 'look'; at: number }
  | { type: 'pass'; milliseconds: number }
  /** Something is said while an instance's calls go another way, for so long before and after it. */
  | { type: 'say past'; by: number; of: number; way: Way; before: number; after: number }
  /** Nothing at all runs in this process: no timer, no answer. */
  | { type: 'freeze'; milliseconds: number };

const which = fc.nat({ max: INSTANCES - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ type: fc.constant('say' as const), by: which }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('way' as const),
      of: which,
      way: fc.constantFrom<Way>('open', 'open', 'held', 'answers held', 'answers lost'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('say past' as const),
      by: which,
      of: which,
      way: fc.constantFrom<Way>('held', 'answers held', 'answers lost'),
      before: fc.integer({ min: 0, max: 40 }),
      after: fc.integer({ min: 20, max: 2 * LEASE }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('ring' as const), at: which }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('look' as const), at: which }) },
  {
    weight: 3,
    arbitrary: fc.record({
      type: fc.constant('pass' as const),
      milliseconds: fc.integer({ min: 1, max: 50 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant('freeze' as const),
      milliseconds: fc.integer({ min: 1, max: 150 }),
    }),
  },
);

/** An instance's way to the store, of which the test is the master. */
class Gate {
  #way: Way = 'open';
  #waiting: (() => void)[] = [];

  set way(way: Way) {
    this.#way = way;
    for (const proceed of this.#waiting.splice(0)) proceed();
  }

  async #until(isOpen: () => boolean): Promise<void> {
    while (!isOpen()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  over(store: ControlStore): ControlStore {
    const gated =
      <Args extends unknown[], Answer>(call: (...args: Args) => Promise<Answer>) =>
      async (...args: Args): Promise<Answer> => {
        await this.#until(() => this.#way !== 'held');
        const answer = await call.apply(store, args);
        if (this.#way === 'answers lost') throw new Error('the answer got lost');
        await this.#until(() => this.#way !== 'answers held');
        return answer;
      };
    return {
      subscribe: () => store.subscribe(),
      lease: gated(store.lease),
      command: gated(store.command),
      progress: gated(store.progress),
      restore: gated(store.restore),
      leave: gated(store.leave),
      layout: () => store.layout(),
      newer: store.newer,
      away: (message) => store.away(message),
      failureOf: (error) => store.failureOf(error),
    };
  }
}

interface Instance {
  gate: Gate;
  control: LeasedControl;
  obeyed: Set<number>;
}

/** Stores of which each is new. */
interface Stores {
  make(): Promise<ControlStore>;
  stop(): Promise<void>;
}

async function inRedis(): Promise<Stores> {
  const redis = await startRedis();
  const topology = topologyOf(redis.url, {});
  let prefixes = 0;
  await new Promise<void>((resolve) =>
    topology.open({ message() {}, lost() {}, whole: resolve, moving() {}, missed() {} }),
  );
  return {
    make: async () => new RedisControl(topology, `model${prefixes++}`),
    async stop() {
      await topology.close();
      await redis.stop();
    },
  };
}

async function inPostgres(): Promise<Stores> {
  const server = await startPostgres();
  const link = new PostgresLink(resolvePostgresOptions(server.url), 'model');
  await new Promise<void>((resolve) => link.open({ lost() {}, whole: resolve }));
  await migrate(link);
  return {
    async make() {
      const tables = [
        'control',
        'control_log',
        'control_record',
        'control_lease',
        'control_count',
        'control_run',
      ];
      await server.query(`TRUNCATE ${tables.map((name) => `model.${name}`).join(', ')}`);
      return new PostgresControl(link);
    },
    async stop() {
      await link.close();
      await server.stop();
    },
  };
}

model('Redis', 20, needs('redis'), inRedis);
model('PostgreSQL', 10, needs('postgres'), inPostgres);

function model(
  name: string,
  runs: number,
  need: ReturnType<typeof needs>,
  start: () => Promise<Stores>,
): void {
  describe(`the control log in ${name}`, { ...need, timeout: 300_000 }, () => {
    let stores: Stores;
    before(async () => {
      stores = await start();
    });
    after(() => stores?.stop());

    test('whoever may deliver has carried out all that was promised, whatever comes between', async () => {
      await fc.assert(fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 30 }), play), {
        numRuns: Number(process.env['MODEL_RUNS'] ?? runs),
        endOnFailure: true,
      });
    });

    async function play(actions: Action[]): Promise<void> {
      const store = await stores.make();
      const instances = Array.from({ length: INSTANCES }, (_, i): Instance => {
        const gate = new Gate();
        const obeyed = new Set<number>();
        const faults = new Faults({ warn() {}, mended() {} });
        const hooks = { lapsed() {}, renewed() {} };
        const control = new LeasedControl(gate.over(store), hooks, faults);
        const obey = ({ body }: { body: unknown }): number => {
          obeyed.add((body as { n: number }).n);
          return 1;
        };
        control.open(
          { name: `i${i}`, obey, lapsed() {}, missed: () => assert.fail('nothing was trimmed') },
          LEASE,
        );
        return { gate, control, obeyed };
      });
      const promised = new Set<number>();
      const look = ({ control, obeyed }: Instance, i: number): void => {
        if (!control.mayDeliver()) return;
        for (const n of promised) assert.ok(obeyed.has(n), `${i} may deliver, and has not carried out ${n}`);
      };
      const lookAtAll = (): void => instances.forEach(look);
      const said: Promise<unknown>[] = [];
      let n = 0;
      const say = (by: number): void => {
        const number = n++;
        const saying = instances[by]!.control.say('n', { n: number }, { timeout: 10 * LEASE });
        const kept = (): void => {
          promised.add(number);
          lookAtAll();
        };
        said.push(saying.then(kept, () => {}));
      };
      const pass = async (milliseconds: number): Promise<void> => {
        await new Promise((resolve) => setTimeout(resolve, milliseconds));
        lookAtAll();
      };
      try {
        await Promise.all(instances.map(({ control }) => control.hold(() => true)));
        for (const one of actions) {
          switch (one.type) {
            case 'say':
              say(one.by);
              break;
            case 'say past':
              instances[one.of]!.gate.way = one.way;
              await pass(one.before);
              say(one.by);
              await pass(one.after);
              instances[one.of]!.gate.way = 'open';
              // What has waited comes, and what comes next.
              await pass(0);
              await pass(5);
              break;
            case 'way':
              instances[one.of]!.gate.way = one.way;
              break;
            case 'ring':
              instances[one.at]!.control.rung();
              break;
            case 'look':
              look(instances[one.at]!, one.at);
              break;
            case 'pass':
              await pass(one.milliseconds);
              break;
            case 'freeze': {
              const end = performance.now() + one.milliseconds;
              while (performance.now() < end);
            }
          }
          lookAtAll();
        }
        for (const { gate } of instances) gate.way = 'open';
        await Promise.all(said);
        await Promise.all(instances.map(({ control }) => control.hold(() => true)));
        lookAtAll();
        // And it is no empty promise: now that all is well, everything is carried out by everybody.
        await instances[0]!.control.say('n', { n: -1 });
        // One whose lease has lapsed meanwhile, on a machine that is busy, carries it out before it may deliver again.
        await until('everybody to have carried out everything', () =>
          instances.every(({ obeyed }) => [...promised, -1].every((number) => obeyed.has(number))),
        );
      } finally {
        for (const { gate } of instances) gate.way = 'open';
        await Promise.all(instances.map(({ control }) => control.close()));
      }
    }
  });
}

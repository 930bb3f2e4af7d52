/** Any interleaving of what happens to an inbox, and five devices that agree after each step. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { RespClient } from '../../../src/pubsub/redis/resp-client.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs, typescript, uncovered } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { keysOf, rewindKeys, saveKeys } from './channel-keys.ts';
import { Play, type Stage, TooSlow } from './inbox-play.ts';
import { ChannelRows, prepareRows } from './postgres-rows.ts';

/** Replay one by INBOX_MODEL_SEED=4711 INBOX_MODEL_RUNS=1. */
const SEED = Number(process.env['INBOX_MODEL_SEED'] ?? Date.now() % 1e9);
const RUNS = Number(process.env['INBOX_MODEL_RUNS'] ?? 10_000);

const program = fileURLToPath(new URL('inbox-in-memory.ts', import.meta.url));

test(`${RUNS} interleavings in memory from seed ${SEED}: all devices agree on every state and count`, async () => {
  const args = [...typescript, program, String(SEED), String(RUNS)];
  const [output, errors] = await new Promise<[string, string]>((resolve) => {
    execFile(process.execPath, args, { env: uncovered, timeout: 300_000 }, (_, ...said) => resolve(said));
  });
  assert.equal(output, `${RUNS} played\n`, errors);
});

const REDIS_RUNS = Number(process.env['INBOX_MODEL_REDIS_RUNS'] ?? 100);
const POSTGRES_RUNS = Number(process.env['INBOX_MODEL_POSTGRES_RUNS'] ?? 40);
const AT_ONCE = 10;
const POSTGRES_AT_ONCE = 4;
/** Milliseconds. */
const SHORT = 400;
/** Milliseconds that a step may take, before anything expires in the middle of it. */
const STEP = 100;

class RedisStage implements Stage {
  readonly short = SHORT;
  readonly step = STEP;
  readonly #url: string;
  readonly #client: RespClient;

  constructor(url: string, client: RespClient) {
    this.#url = url;
    this.#client = client;
  }

  async open(listener: Parameters<Stage['open']>[0]) {
    const broker = redisBroker(this.#url, { intake: false });
    await broker.open(listener);
    return broker;
  }

  // The server is on this machine.
  clock(): number {
    return Date.now();
  }

  pass(): Promise<void> {
    return pause(SHORT / 2);
  }

  until(what: string, condition: () => boolean | Promise<boolean>): Promise<unknown> {
    return until(what, condition, 3000);
  }

  readonly losses: Stage['losses'] = {
    'all keys are lost': async (channel) => {
      const keys = keysOf(channel);
      return Number(await this.#client.command('DEL', ...keys)) > 0;
    },
    'the top is lost': async (channel) => Number(await this.#client.command('DEL', keysOf(channel)[0]!)) > 0,
  };

  rewind(channel: string): Promise<boolean> {
    return rewindKeys(this.#client, channel);
  }

  save(channel: string): Promise<void> {
    return saveKeys(this.#client, channel);
  }
}

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Each of the workers plays with a stage of its own. */
async function playAll(t: TestContext, runs: number, workers: number, makeStage: () => Stage): Promise<void> {
  let next = SEED;
  let proved = 0;
  const playNext = async (stage: Stage): Promise<void> => {
    const seed = next++;
    const play = new Play(stage, `user:${seed}`, seed);
    try {
      await play.run(25);
      proved++;
    } catch (error) {
      if (!(error instanceof TooSlow))
        assert.fail(`seed ${seed}:\n${play.story.join('\n')}\n${(error as Error).stack}`);
    }
  };
  const work = async (stage: Stage): Promise<void> => {
    while (next < SEED + runs) await playNext(stage);
  };
  await Promise.all(Array.from({ length: workers }, () => work(makeStage())));
  // Where the machine was too busy for all of them, one after the other may be quick enough.
  while (proved === 0 && next < SEED + 5 * runs) await playNext(makeStage());
  t.diagnostic(`${next - SEED - proved} of ${next - SEED} were too slow to prove anything`);
  assert.ok(proved > 0, 'none was quick enough to prove anything');
}

describe('an inbox in Redis and its model', { ...needs('redis'), timeout: 900_000 }, () => {
  let redis: RedisServer;
  let client: RespClient;
  before(async () => {
    redis = await startRedis();
    client = new RespClient(redis.url);
  });
  after(async () => {
    await client.close();
    await redis.stop();
  });

  test(`${REDIS_RUNS} interleavings from seed ${SEED}, with losses and rewinds of the store`, (t) =>
    playAll(t, REDIS_RUNS, AT_ONCE, () => new RedisStage(redis.url, client)));
});

class PostgresStage implements Stage {
  readonly short = SHORT;
  readonly step = STEP;
  readonly #url: string;
  readonly #rows: ChannelRows;

  constructor(url: string, rows: ChannelRows) {
    this.#url = url;
    this.#rows = rows;
  }

  async open(listener: Parameters<Stage['open']>[0]) {
    const broker = postgresBroker(this.#url, { connections: 2 });
    await broker.open(listener);
    return broker;
  }

  // The server is on this machine.
  clock(): number {
    return Date.now();
  }

  pass(): Promise<void> {
    return pause(SHORT / 2);
  }

  until(what: string, condition: () => boolean | Promise<boolean>): Promise<unknown> {
    return until(what, condition, 3000);
  }

  readonly losses: Stage['losses'] = {
    'all rows are lost': (channel) => this.#rows.clear(channel),
  };

  rewind(channel: string): Promise<boolean> {
    return this.#rows.rewind(channel);
  }

  save(channel: string): Promise<void> {
    return this.#rows.save(channel);
  }
}

describe('an inbox in PostgreSQL and its model', { ...needs('postgres'), timeout: 900_000 }, () => {
  let server: PostgresServer;
  before(async () => {
    server = await startPostgres();
  });
  after(() => server.stop());

  test(`${POSTGRES_RUNS} interleavings from seed ${SEED}, with losses and rewinds of the store`, async (t) => {
    await prepareRows(server.url);
    const clients = Array.from({ length: POSTGRES_AT_ONCE }, () => new pg.Client(server.url));
    await Promise.all(clients.map((client) => client.connect()));
    let next = 0;
    try {
      await playAll(t, POSTGRES_RUNS, clients.length, () => {
        const client = clients[next++ % clients.length]!;
        return new PostgresStage(server.url, new ChannelRows(client));
      });
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
  });
});

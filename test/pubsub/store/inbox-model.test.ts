/** Any interleaving of what happens to an inbox, and five devices that agree after each step. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { RespClient } from '../../../src/pubsub/redis/resp-client.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { until } from '../../support/net.ts';
import { needs, typescript, uncovered } from '../../support/programs.ts';
import { type RedisServer, startRedis } from '../../support/redis.ts';
import { Play, type Stage, TooSlow } from './inbox-play.ts';

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
const AT_ONCE = 10;
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
      const keys = this.#keys(channel);
      return Number(await this.#client.command('DEL', ...keys)) > 0;
    },
    'the top is lost': async (channel) =>
      Number(await this.#client.command('DEL', this.#keys(channel)[0]!)) > 0,
  };

  async rewind(channel: string): Promise<boolean> {
    const keys = this.#keys(channel);
    if ((await this.#client.command('EXISTS', savedKey(keys[0]!))) === 0) return false;
    for (const key of keys) {
      await this.#client.command('DEL', key);
      await this.#client.command('COPY', savedKey(key), key);
    }
    return true;
  }

  async save(channel: string): Promise<void> {
    for (const key of this.#keys(channel)) {
      await this.#client.command('DEL', savedKey(key));
      await this.#client.command('COPY', key, savedKey(key));
    }
  }

  #keys(channel: string): string[] {
    return ['top', 'list', 'marks', 'keys', 'ttl'].map((name) => `{tidings:${channel}}:${name}`);
  }
}

const savedKey = (key: string): string => key.replace('}', '}:saved');
const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

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

  test(`${REDIS_RUNS} interleavings from seed ${SEED}, with losses and rewinds of the store`, async (t) => {
    let next = SEED;
    let proved = 0;
    const worker = async (): Promise<void> => {
      while (next < SEED + REDIS_RUNS) {
        const seed = next++;
        const stage = new RedisStage(redis.url, client);
        const play = new Play(stage, `user:${seed}`, seed);
        try {
          await play.run(25);
          proved++;
        } catch (error) {
          if (!(error instanceof TooSlow))
            assert.fail(`seed ${seed}:\n${play.story.join('\n')}\n${(error as Error).stack}`);
        }
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    t.diagnostic(`${REDIS_RUNS - proved} of ${REDIS_RUNS} were too slow to prove anything`);
    assert.ok(proved > 0, 'none was quick enough to prove anything');
  });
});

/** `tidings send` and `tidings publish`: one message to a user or a topic, by HTTP or straight through Redis. */
import { text as readText } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker, BrokerListener, Receipt } from '../pubsub/store/broker.ts';
import { JsonText } from '../push/payload.ts';
import { inboxOf, topicProblem, userProblem } from '../push/talk/names.ts';
import { callAdmin, connection } from './admin-client.ts';
import { command } from './command.ts';
import { limitOption, parseLimits } from './limits.ts';
import { flag, integer, type Settings, text, UsageError } from './options.ts';
import { redisOptions, redisSettings } from './redis.ts';

const options = {
  ...connection,
  redis: text('URL', 'Store it in this Redis directly, without asking an instance'),
  ...redisOptions,
  wait: integer('MS', 'Milliseconds to wait for that Redis, and for it to store the message', {
    min: 0,
    max: 3_600_000,
    fallback: 5_000,
  }),
  limit: limitOption,
  json: flag('TEXT is JSON: send the value, not the text'),
  idempotencyKey: text('KEY', 'Sending again with the same key stores nothing and prints the first receipt'),
};

export const send = command({
  name: 'send',
  positionals: 'USER [TEXT|-]',
  summary: "send a message to a user's open pages",
  description:
    'Sends TEXT to USER and prints the receipt as JSON once the message is stored. Without TEXT, or with -, ' +
    'the message is read from standard input. It goes through the admin API of a running `tidings serve` ' +
    '(--url, --token), or with --redis straight into the Redis that the instances share.',
  examples: [
    ['tidings send alice "hello" --token T', 'through the server on this machine'],
    ['tidings send alice --json \'{"subject":"hello"}\' --redis redis://127.0.0.1:6379', 'through Redis'],
    ['date | tidings send alice - --url https://push.example.com --token T', 'from standard input'],
  ],
  options,
  run: (settings) => deliver('users', settings),
});

export const publish = command({
  name: 'publish',
  positionals: 'TOPIC [TEXT|-]',
  summary: 'send a message to all subscribers of a topic',
  description:
    'Publishes TEXT to TOPIC and prints the receipt as JSON once the message is stored. Otherwise as ' +
    '`tidings send`.',
  examples: [
    ['tidings publish news "we are open again" --token T', 'to every page that has subscribed to news'],
  ],
  options,
  run: (settings) => deliver('topics', settings),
});

async function deliver(to: 'users' | 'topics', settings: Settings<typeof options>): Promise<number> {
  const { values, sources } = settings;
  const [name, message, ...rest] = settings.positionals;
  if (name === undefined || rest.length > 0) {
    throw new UsageError(
      `give a ${to === 'users' ? 'USER' : 'TOPIC'} and one TEXT (in quotes if it has spaces)`,
    );
  }
  const data = parseData(await readMessage(message), values.json);

  // Whichever was named closer to the command line: a tidings.json with "redis" is there for `serve`.
  const throughRedis = values.redis !== undefined && !(sources.url === 'flag' && sources.redis !== 'flag');
  const receipt = throughRedis
    ? await storeInRedis(values.redis as string, to, name, data, values)
    : await callAdmin(values, {
        method: 'POST',
        path: `/api/${to}/${encodeURIComponent(name)}/messages`,
        body: data,
        idempotencyKey: values.idempotencyKey,
      });
  console.log(JSON.stringify(receipt));
  return 0;
}

async function readMessage(argument: string | undefined): Promise<string> {
  if (argument !== undefined && argument !== '-') return argument;
  if (argument === undefined && process.stdin.isTTY) throw new UsageError('give TEXT, or - to type it');
  return (await readText(process.stdin)).replace(/\r?\n$/, '');
}

function parseData(message: string, isJson: boolean): unknown {
  if (!isJson) return message;
  try {
    return new JsonText(message);
  } catch (error) {
    throw new UsageError(`with --json, TEXT must be JSON: ${(error as Error).message}`);
  }
}

/** The one that writes decides how long the log is kept: with other limits than the default, servers and senders need the same. */
async function storeInRedis(
  url: string,
  to: 'users' | 'topics',
  name: string,
  data: unknown,
  values: Settings<typeof options>['values'],
): Promise<Receipt> {
  const { idempotencyKey, limit, wait } = values;
  const problem = to === 'users' ? userProblem(name) : topicProblem(name);
  if (problem !== undefined) throw new UsageError(problem);
  const { encodeData } = await import('../push/payload.ts');
  const { kind, bytes } = encodeData(data);
  const { limits, retention } = parseLimits(limit);
  if (bytes.length > limits.message)
    throw new UsageError(`a message may have at most ${limits.message} bytes`);
  const broker = await openBroker(url, values);
  let lastError: Error | undefined;
  const listener: BrokerListener = {
    message() {},
    transient() {},
    acknowledged() {},
    down(error) {
      lastError = error;
    },
    up() {},
  };
  const timer = new AbortController();
  try {
    await Promise.race([
      broker.open(listener),
      sleep(wait, undefined, { signal: timer.signal }).then(() => {
        const why = lastError === undefined ? '' : `: ${lastError.message}`;
        throw new Error(`no Redis within ${wait} ms, so nothing is stored${why}`);
      }),
    ]);
    return await broker.publish(to === 'users' ? inboxOf(name) : name, kind, bytes, {
      retention: to === 'users' ? retention.inbox : retention.topic,
      ...(idempotencyKey !== undefined && { idempotencyKey }),
    });
  } finally {
    timer.abort();
    await broker.close();
  }
}

async function openBroker(url: string, values: Settings<typeof options>['values']): Promise<Broker> {
  const { redisBroker } = await import('../pubsub/store/redis-broker.ts');
  try {
    return redisBroker(url, { ...redisSettings(url, values), publishMaxWait: values.wait });
  } catch (error) {
    throw error instanceof TypeError ? new UsageError(`--redis: ${error.message}`) : error;
  }
}

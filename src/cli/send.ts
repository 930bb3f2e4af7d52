/** `tidings send` and `tidings publish`: one message to a user, to many or to a topic, by HTTP or straight into the store. */
import { text as readText } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker, BrokerListener, Receipt } from '../pubsub/store/broker.ts';
import { JsonText } from '../push/payload.ts';
import { checkedAt, type Scheduled, schedule } from '../push/sending/schedule.ts';
import { sendMany, type UserResult } from '../push/sending/send-many.ts';
import { inboxOf, topicProblem, userProblem } from '../push/talk/names.ts';
import { AdminError, callAdmin, connection, inPath, withQuery } from './admin-client.ts';
import { atOption, parseAt } from './at.ts';
import { command } from './command.ts';
import { limitOption, parseLimits } from './limits.ts';
import { flag, integer, once, type Settings, secret, text, UsageError } from './options.ts';
import { type SendToSome, sendToUsers, type Told } from './send-users.ts';
import { storeOf, storeOptions } from './store.ts';

const options = {
  ...connection,
  redis: secret(text('URL', 'Store it in this Redis directly, without asking an instance')),
  postgres: secret(text('URL', 'Store it in this PostgreSQL directly, without asking an instance')),
  ...storeOptions,
  wait: integer('MS', 'Milliseconds to wait for that store, and for it to store the message', {
    min: 0,
    max: 3_600_000,
    fallback: 5_000,
  }),
  limit: limitOption,
  at: atOption,
  ttl: once(
    integer('MS', 'Milliseconds after which the message is gone; 0 for never', {
      min: 0,
      max: 315_360_000_000,
      fallback: 0,
    }),
  ),
  replaces: once(text('KEY', 'The newest message that was sent with the same key is gone')),
  json: flag('TEXT is JSON: send the value, not the text'),
  idempotencyKey: text('KEY', 'Sending again with the same key stores nothing and prints the first receipt'),
};

const manyOptions = {
  ...options,
  users: once(
    text('FILE|-', 'In place of USER: all users of this list, one on each line; - is standard input'),
  ),
  from: once(
    integer('LINE', 'With --users: the line to begin with', {
      min: 1,
      max: Number.MAX_SAFE_INTEGER,
      fallback: 1,
    }),
  ),
};

export const send = command({
  name: 'send',
  positionals: '[USER] [TEXT|-]',
  summary: "send a message to a user's open pages",
  description:
    'Sends TEXT to USER and prints the receipt as JSON once the message is stored. Without TEXT, or with -, ' +
    'the message is read from standard input. It goes through the admin API of a running `tidings serve` ' +
    '(--url, --token), or with --redis or --postgres straight into the store that the instances share.\n\n' +
    'With --at it is sent then; the receipt has the id for `tidings cancel`. With --users it goes to all users of a list, ' +
    'which may be a million: how far it is, and what could not be sent, is told on standard error, and a summary is ' +
    'printed at the end. Where that fails half-way, the same call with the --from and the --idempotency-key that it names ' +
    'goes on, and nobody gets it twice. It ends with status 1 unless all of them have it.',
  examples: [
    ['tidings send alice "hello" --token T', 'through the server on this machine'],
    ['tidings send alice --json \'{"subject":"hello"}\' --redis redis://127.0.0.1:6379', 'through Redis'],
    [
      'tidings send alice "3 new orders" --replaces orders --ttl 3600000 --token T',
      'in the place of the last one',
    ],
    ['date | tidings send alice - --url https://push.example.com --token T', 'from standard input'],
    ['tidings send alice "time to go" --at +10m --token T', 'in ten minutes'],
    ['tidings send --users staff.txt "the canteen is closed" --token T', 'to everybody on a list'],
  ],
  options: manyOptions,
  run: (settings) =>
    settings.values.users === undefined ? deliver('users', settings) : deliverToMany(settings),
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
  const { values } = settings;
  const [name, message, ...rest] = settings.positionals;
  if (name === undefined || rest.length > 0) {
    throw new UsageError(
      `give a ${to === 'users' ? 'USER' : 'TOPIC'} and one TEXT (in quotes if it has spaces)`,
    );
  }
  const at = values.at === undefined ? undefined : parseAt(values.at);
  const data = parseData(await readMessage(message), values.json);

  const receipt = isStraight(settings)
    ? await storeStraight(to, name, data, at, values)
    : await callAdmin(values, {
        method: 'POST',
        path: withQuery(`/api/${to}/${inPath(name)}/messages`, { at, ...lifeOf(values) }),
        body: data,
        idempotencyKey: values.idempotencyKey,
      });
  console.log(JSON.stringify(receipt));
  return 0;
}

/** Whichever was named closer to the command line: a tidings.json with "redis" is there for `serve`. */
function isStraight({ values, sources }: Pick<Settings<typeof options>, 'values' | 'sources'>): boolean {
  const store = (['redis', 'postgres'] as const).find((name) => values[name] !== undefined);
  return store !== undefined && !(sources.url === 'flag' && sources[store] !== 'flag');
}

async function deliverToMany(settings: Settings<typeof manyOptions>): Promise<number> {
  const { values, positionals } = settings;
  const { users, from, idempotencyKey } = values;
  if (positionals.length > 1)
    throw new UsageError('with --users, give only one TEXT (in quotes if it has spaces)');
  if (users === '-' && (positionals[0] ?? '-') === '-') {
    throw new UsageError('standard input is the list of users: give TEXT');
  }
  const at = values.at === undefined ? undefined : parseAt(values.at);
  const data = parseData(await readMessage(positionals[0]), values.json);
  if (isStraight(settings)) {
    return withStore(data, values, (store) => {
      const sendToSome: SendToSome = async (users, key) => {
        const results: Told[] = [];
        const keep = ({ receipt, error }: UserResult, i: number): void => {
          results[i] = { duplicate: receipt?.duplicate, error: error?.message };
        };
        await sendMany(users, store.bytes, (user) => store.to('users', user, at, key), keep, undefined);
        return results;
      };
      return sendToUsers(users!, from, idempotencyKey, sendToSome, () => false);
    });
  }
  // By its text: numbers that JavaScript can't hold stay what they are.
  const text = data instanceof JsonText ? data.text : JSON.stringify(data);
  const sendToSome: SendToSome = async (users, key) => {
    const rest = JSON.stringify({
      users,
      idempotencyKey: key,
      ...(at !== undefined && { at }),
      ...lifeOf(values),
    });
    const body = new JsonText(`{"data":${text},${rest.slice(1)}`, true);
    const answer = await callAdmin(values, { method: 'POST', path: '/api/messages', body });
    const { results } = answer as { results: { duplicate?: boolean; error?: string; message?: string }[] };
    return results.map(({ duplicate, error, message }) => ({
      duplicate,
      error: error && (message ?? error),
    }));
  };
  const mayHelp = (error: unknown): boolean => error instanceof AdminError && error.mayPass;
  return sendToUsers(users!, from, idempotencyKey, sendToSome, mayHelp);
}

function lifeOf({ ttl, replaces }: Settings<typeof options>['values']): { ttl?: number; replaces?: string } {
  return { ...(ttl > 0 && { ttl }), ...(replaces !== undefined && { replaces }) };
}

async function readMessage(argument: string | undefined): Promise<string> {
  if (argument !== undefined && argument !== '-') return argument;
  if (argument === undefined && process.stdin.isTTY) throw new UsageError('give TEXT, or - to type it');
  const text = (await readText(process.stdin)).replace(/\r?\n$/, '');
  // As where a program runs it without an input.
  if (argument === undefined && text === '')
    throw new UsageError("there is nothing to send: give TEXT, or - (or '') for an empty one");
  return text;
}

function parseData(message: string, isJson: boolean): unknown {
  if (!isJson) return message;
  try {
    return new JsonText(message);
  } catch (error) {
    throw new UsageError(`with --json, TEXT must be JSON: ${(error as Error).message}`);
  }
}

interface Store {
  /** Bytes of the message. */
  bytes: number;
  to(
    to: 'users' | 'topics',
    name: string,
    at: number | undefined,
    idempotencyKey: string | undefined,
  ): Promise<Receipt | Scheduled>;
}

async function storeStraight(
  to: 'users' | 'topics',
  name: string,
  data: unknown,
  at: number | undefined,
  values: Settings<typeof options>['values'],
): Promise<Receipt | Scheduled> {
  const problem = to === 'users' ? userProblem(name) : topicProblem(name);
  if (problem !== undefined) throw new UsageError(problem);
  return withStore(data, values, (store) => store.to(to, name, at, values.idempotencyKey));
}

/** The one that writes decides how long the log is kept: with other limits than the default, servers and senders need the same. */
async function withStore<T>(
  data: unknown,
  values: Settings<typeof options>['values'],
  work: (store: Store) => Promise<T>,
): Promise<T> {
  const { limit, wait } = values;
  const { encodeData } = await import('../push/payload.ts');
  const { kind, bytes } = encodeData(data);
  const { limits, retention } = parseLimits(limit);
  if (bytes.length > limits.message)
    throw new UsageError(`a message may have at most ${limits.message} bytes`);
  const broker = await brokerOf(values);
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
        const store = values.redis === undefined ? 'PostgreSQL' : 'Redis';
        throw new Error(`no ${store} within ${wait} ms, so nothing is stored${why}`);
      }),
    ]);
    return await work({
      bytes: bytes.length,
      async to(to, name, at, idempotencyKey) {
        const problem = to === 'users' ? userProblem(name) : topicProblem(name);
        if (problem !== undefined) throw new TypeError(problem);
        const channel = to === 'users' ? inboxOf(name) : name;
        const settings = { ...(idempotencyKey !== undefined && { idempotencyKey }), ...lifeOf(values) };
        if (at !== undefined)
          return schedule(broker.schedule, limits.scheduled, {
            channel,
            kind,
            payload: bytes,
            at: checkedAt(at),
            settings,
          });
        return broker.publish(channel, kind, bytes, {
          retention: to === 'users' ? retention.inbox : retention.topic,
          ...settings,
        });
      },
    });
  } finally {
    timer.abort();
    await broker.close();
  }
}

async function brokerOf(values: Settings<typeof options>['values']): Promise<Broker> {
  const more = { publishMaxWait: values.wait };
  // One of them is there.
  return values.redis === undefined
    ? storeOf(values, await import('../pubsub/store/postgres-broker.ts'), more)!
    : storeOf(values, await import('../pubsub/store/redis-broker.ts'), more)!;
}

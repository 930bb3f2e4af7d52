/**
 * A program: one instance with a push server, as an application embeds it. The runner starts several as child
 * processes. Besides the sockets it takes `POST /send/<stream>`, for the data's key `POST /reference/<user>`, and
 * `POST /disconnect/<user>`, `/block/<user>` and `/unblock/<user>`; it lists an inbox on `GET /inbox/<user>`,
 * tells how it is on `GET /stats`, with its memory, once it has collected it, on `GET /memory`, and how many handshakes were
 * under way at once since it was last asked on `GET /handshakes`.
 */
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Interceptor,
  type Position,
  PushServer,
  type PushServerOptions,
  queryUser,
  source,
} from '../../src/index.ts';
import type { InstanceSettings } from './instances.ts';
import { type Misbehaviour, misbehave, misbehaviours } from './misbehaviour.ts';
import { brokerOf } from './store-target.ts';

const settings = JSON.parse(process.env['CHAOS_INSTANCE']!) as InstanceSettings;
const { port, path, store, drain, options, handshakeTime, isFaulty, sources = [] } = settings;
let underWay = 0;
let peak = 0;

const http = createServer((request, response) => {
  const answer = (status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
  const [, verb, stream] = decodeURIComponent(request.url ?? '').split('/');
  if (verb === 'stats') answer(200, push.stats());
  else if (verb === 'memory') {
    globalThis.gc?.();
    answer(200, { ...process.memoryUsage(), cpu: process.cpuUsage(), ...push.stats() });
  } else if (verb === 'handshakes') {
    answer(200, { peak });
    peak = underWay;
  } else if (verb === 'send' && stream !== undefined) {
    send(stream, request).then(
      (receipt) => answer(201, receipt),
      (error) => answer(503, { error: String(error) }),
    );
  } else if ((verb === 'disconnect' || verb === 'block' || verb === 'unblock') && stream !== undefined) {
    push[verb](stream).then(
      (ended) => answer(200, { ended }),
      (error) => answer(503, { error: String(error) }),
    );
  } else if (verb === 'reference' && stream !== undefined) {
    read(request)
      .then(({ key }) => push.sendReference(stream, key))
      .then(
        (receipt) => answer(201, receipt),
        (error) => answer(503, { error: String(error) }),
      );
  } else if (verb === 'inbox' && stream !== undefined) {
    list(stream).then(
      (all) => answer(200, all),
      (error) => answer(503, { error: String(error) }),
    );
  } else answer(404, {});
});

/** All of an inbox, archived or not: ids and states. */
async function list(user: string): Promise<unknown> {
  const messages: { id: string; state: string; archived?: true }[] = [];
  for (const state of ['all', 'archived'] as const) {
    let before: Position | undefined;
    do {
      const page = await push.inbox(user, { limit: 200, state, ...(before !== undefined && { before }) });
      for (const { id, state, archived } of page.messages)
        messages.push({ id, state, ...(archived && { archived }) });
      before = page.before;
    } while (before !== undefined);
  }
  return { messages, counts: await push.counts(user) };
}

const lookup: Interceptor = {
  async before() {
    peak = Math.max(peak, ++underWay);
    await pause(handshakeTime);
  },
  after() {
    underWay--;
  },
};

/** The user is asked for `<where>-<how>`: `before-throw`, `opened-hang` … everybody else is served as ever. */
const isAsked = (name: string, where: string): Misbehaviour | undefined =>
  misbehaviours.find((how) => name.startsWith(`${where}-${how}`));

function misbehaveFor<T>(name: string, where: string, otherwise: T): T {
  const how = isAsked(name, where);
  return how === undefined ? otherwise : (misbehave(how) as T);
}

const faulty: PushServerOptions = {
  authorize: {
    subscribe: (_session, topic) => misbehaveFor(topic, 'subscribe', true),
    publish: (_session, topic) => misbehaveFor(topic, 'publish', true),
  },
  handler: {
    opened: ({ user }) => misbehaveFor(user, 'opened', undefined),
    message: ({ user }) => misbehaveFor(user, 'message', undefined),
    closed: ({ user }) => misbehaveFor(user, 'closed', undefined),
    transportError: ({ user }) => misbehaveFor(user, 'error', undefined),
  },
  references: {
    resolve: (key) => misbehaveFor(key, 'resolve', unencodable(key)),
    timeout: 400,
  },
};
const nameOf = (url: string | undefined): string =>
  new URL(url ?? '', 'http://instance').searchParams.get('user') ?? '';
const badInterceptor: Interceptor = {
  before: ({ url }) => misbehaveFor(nameOf(url), 'before', undefined),
  after: ({ url }) => misbehaveFor(nameOf(url), 'after', undefined),
};

/** What `resolve` gives for a key is its user and data: some can't be made into a message. */
function unencodable(key: string): { user: string; data: unknown } | undefined {
  const [user, what] = key.split('-') as [string, string];
  if (what === 'undefined') return { user, data: undefined };
  if (what === 'bigint') return { user, data: 1n };
  return what === 'gone' ? undefined : { user, data: { key } };
}

const push = new PushServer({
  server: http,
  broker: brokerOf(store),
  interceptors: [
    queryUser('user'),
    ...(handshakeTime === undefined ? [] : [lookup]),
    ...(isFaulty ? [badInterceptor] : []),
  ],
  authorize: { subscribe: () => true },
  ...(isFaulty && faulty),
  ...options,
});

for (const url of sources) source(push, url);

async function read(request: IncomingMessage): Promise<{ data: unknown; key: string; replaces?: string }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

async function send(stream: string, request: IncomingMessage): Promise<unknown> {
  const { data, key, replaces } = await read(request);
  const settings = { idempotencyKey: key, ...(replaces !== undefined && { replaces }) };
  return stream.startsWith('user:')
    ? push.send(stream.slice('user:'.length), data, settings)
    : push.publish(stream, data, settings);
}

process.on('SIGTERM', () => {
  // Who keeps a connection to send on would otherwise hold up the end of the HTTP server.
  http.close();
  void push.close({ drain }).then(() => process.exit(0));
});

// Of a connection over it the kernel keeps little, so that a line behind it can be as thin as those in the field.
if (path !== undefined)
  createNetServer((socket) => http.emit('connection', socket))
    .listen(path)
    .unref();

http.listen(port, '127.0.0.1', () => {
  void push.ready.then(() => console.log(`listening on http://127.0.0.1:${port}/`));
});

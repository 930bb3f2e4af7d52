/** Sources that a scenario sends its messages to, in place of the instances, which read them there. */
import { readFileSync } from 'node:fs';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect as connectNats, type NatsConnection } from '@nats-io/transport-node';
import { type ChannelModel, type ConfirmChannel, connect as connectRabbit } from 'amqplib';
import { Pool } from 'pg';
import { startNats } from '../support/nats.ts';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { startRabbit } from '../support/rabbitmq.ts';
import type { Numbered } from './publisher.ts';

export interface Feed {
  /** What the instances read. */
  readonly urls: string[];
  /** Resolves once the source has confirmed it; a message may be sent again with the same key. */
  send(stream: string, data: Numbered, key: string): Promise<void>;
  kill(): Promise<void>;
  start(): Promise<void>;
  /** It stands still, or goes on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  stop(): Promise<void>;
}

/** `own-outbox`: in the PostgreSQL that is the store as well. */
export type FeedKind = 'rabbitmq' | 'nats' | 'outbox' | 'own-outbox';

/** Milliseconds for the source to confirm. */
const CONFIRM = 10_000;

export const feeds: Record<FeedKind, (store: PostgresServer | undefined) => Promise<Feed>> = {
  rabbitmq,
  nats,
  outbox: async () => outbox(await startPostgres()),
  'own-outbox': async (store) => ({ ...(await outbox(store!)), stop: async () => {} }),
};

/** What a message says by the admin API's names. */
function sending(stream: string, data: Numbered): object {
  return stream.startsWith('user:') ? { user: stream.slice('user:'.length), data } : { topic: stream, data };
}

/** A connection that is made when it is needed, and again once anything over it has failed. */
class Kept<T> {
  readonly #make: () => Promise<T>;
  readonly #close: (it: T) => Promise<unknown>;
  #it: Promise<T> | undefined;

  constructor(make: () => Promise<T>, close: (it: T) => Promise<unknown>) {
    this.#make = make;
    this.#close = close;
  }

  async use<R>(work: (it: T) => Promise<R>): Promise<R> {
    this.#it ??= this.#make();
    const it = this.#it;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error('not confirmed in time')), CONFIRM);
    });
    try {
      return await Promise.race([it.then(work), late]);
    } catch (error) {
      if (this.#it === it) this.#it = undefined;
      it.then(this.#close).catch(() => {});
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    const it = this.#it;
    this.#it = undefined;
    await it?.then(this.#close).catch(() => {});
  }
}

/** Users by turns in a classic and a quorum queue. A stream of one server alone loses what it has confirmed, when it is killed. */
async function rabbitmq(): Promise<Feed> {
  const server = await startRabbit();
  const kinds = ['classic', 'quorum'];
  const connection = new Kept<{ model: ChannelModel; channel: ConfirmChannel }>(
    async () => {
      const model = await connectRabbit(server.url);
      model.on('error', () => {});
      const channel = await model.createConfirmChannel();
      channel.on('error', () => {});
      return { model, channel };
    },
    ({ model }) => model.close(),
  );
  await connection.use(async ({ channel }) => {
    for (const kind of kinds)
      await channel.assertQueue(kind, { durable: true, arguments: { 'x-queue-type': kind } });
  });
  await server.remember();
  return {
    urls: kinds.map((kind) => `${server.url}?queue=${kind}`),
    send: (stream, data, messageId) =>
      connection.use(
        ({ channel }) =>
          new Promise((resolve, reject) => {
            const kind = kinds[(stream.codePointAt(stream.length - 1) ?? 0) % kinds.length]!;
            const body = Buffer.from(JSON.stringify(sending(stream, data)));
            channel.publish('', kind, body, { persistent: true, messageId }, (error) =>
              error ? reject(error) : resolve(),
            );
          }),
      ),
    kill: () => server.kill(),
    start: () => server.start(),
    signal: (name) => server.signal(name),
    async stop() {
      await connection.close();
      await server.stop();
    },
  };
}

async function nats(): Promise<Feed> {
  const server = await startNats();
  const connection = new Kept<NatsConnection>(
    () => connectNats({ servers: `127.0.0.1:${server.port}`, reconnect: false }),
    (it) => it.close(),
  );
  await connection.use(async (it) => {
    const manager = await jetstreamManager(it);
    await manager.streams.add({ name: 'CHAOS', subjects: ['chaos'] });
  });
  return {
    urls: [`${server.url}?stream=CHAOS&ack-wait=2000`],
    send: (stream, data, msgID) =>
      connection.use(async (it) => {
        await jetstream(it).publish('chaos', JSON.stringify(sending(stream, data)), { msgID });
      }),
    kill: () => server.kill(),
    start: () => server.start(),
    signal: (name) => server.signal(name),
    async stop() {
      await connection.close();
      await server.stop();
    },
  };
}

async function outbox(server: PostgresServer): Promise<Feed> {
  const connection = new Kept<Pool>(
    async () => {
      const pool = new Pool({ connectionString: server.url });
      pool.on('error', () => {});
      return pool;
    },
    (pool) => pool.end(),
  );
  const table = new URL('../../src/sources/tables/outbox-postgres.sql', import.meta.url);
  await connection.use((pool) => pool.query(readFileSync(table, 'utf8')));
  return {
    urls: [server.url],
    send: (stream, data, uid) =>
      connection.use(async (pool) => {
        const user = stream.startsWith('user:') ? stream.slice('user:'.length) : null;
        const topic = user === null ? stream : null;
        await pool.query('INSERT INTO tidings_outbox (uid, user_name, topic, data) VALUES ($1, $2, $3, $4)', [
          uid,
          user,
          topic,
          JSON.stringify(data),
        ]);
      }),
    kill: () => server.kill(),
    start: () => server.start(),
    signal: (name) => server.signal(name),
    async stop() {
      await connection.close();
      await server.stop();
    },
  };
}

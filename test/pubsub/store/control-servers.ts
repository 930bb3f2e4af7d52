/** Servers whose control log a test looks into: what they may lose, and how each is made to. */
import type { Broker } from '../../../src/pubsub/store/broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { redisBroker } from '../../../src/pubsub/store/redis-broker.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';

const QUICK = { reconnectMinDelay: 20, reconnectMaxDelay: 100, probeInterval: 500, probeTimeout: 500 };
const YEAR = 365 * 86_400_000;

/** One for all, as it takes a second to make; each has a database of its own. */
let postgres: Promise<PostgresServer> | undefined;

export async function stopControlServers(): Promise<void> {
  await (await postgres)?.stop();
}

export interface ControlServer {
  readonly port: number;
  readonly url: string;
  /** Its processes stand still, or go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** A broker that reaches it at its own port, or another one that leads there. */
  broker(port: number): Broker;
  /** Whether this is said over the connection that hears doorbells. */
  isListener(chunk: string): boolean;
  kill(): Promise<void>;
  /** Starts it again with what it has kept. */
  start(): Promise<void>;
  /** Kills it, and starts it again with nothing of the control log. */
  loseAll(): Promise<void>;
  /** It has lost the newest command, as a replica that lacked it. */
  loseNewest(): Promise<void>;
  /** As if its clock had been a year ahead when it began, and when an instance died, and had been set right. */
  setBack(dead: string): Promise<void>;
  /** It has so many records, k0, k1 …, of which the first one was over long ago. */
  fill(records: number): Promise<void>;
  /** It keeps no command any more. */
  trim(): Promise<void>;
  /** How many commands it keeps. */
  count(): Promise<number>;
  stop(): Promise<void>;
}

export interface ControlServerKind {
  name: string;
  need: ReturnType<typeof needs>;
  begin(): Promise<ControlServer>;
}

export const controlServers: ControlServerKind[] = [
  {
    name: 'Redis',
    need: needs('redis'),
    async begin() {
      const server = await startRedis();
      const key = (name: string): string => `{tidings:control\n}:${name}`;
      return {
        port: server.port,
        url: server.url,
        signal: (name) => void server.process.kill(name),
        broker: (port) => redisBroker(`redis://127.0.0.1:${port}`, { ...QUICK, commandTimeout: 1000 }),
        isListener: (chunk) => /\bSUBSCRIBE\b/i.test(chunk),
        kill: () => server.kill(),
        start: () => server.start(),
        async loseAll() {
          await server.kill();
          await server.start();
        },
        async loseNewest() {
          await ask(server, 'RPOP', key('log'));
          await ask(server, 'HINCRBY', key('state'), 'top', -1);
        },
        async setBack(dead) {
          await ask(server, 'HINCRBY', key('state'), 'since', YEAR);
          await ask(server, 'HSET', key('leases'), dead, `0 ${dead}`);
          await ask(server, 'SET', key(`lease:${dead}`), '', 'PX', YEAR);
        },
        async fill(records) {
          const fields = Array.from({ length: records }, (_, i) => [`k${i}`, `1 ${i === 0 ? '2' : 'inf'} `]);
          await ask(server, 'HSET', key('records'), ...fields.flat());
        },
        async trim() {
          await ask(server, 'LTRIM', key('log'), 1, 0);
        },
        count: async () => Number(await ask(server, 'LLEN', key('log'))),
        stop: () => server.stop(),
      };
    },
  },
  {
    name: 'PostgreSQL',
    need: needs('postgres'),
    async begin() {
      postgres ??= startPostgres();
      const server = await postgres;
      const url = new URL(await server.preparedDatabase());
      const query = (text: string) => server.query(text, url.href);
      return {
        port: server.port,
        url: url.href,
        signal: (name) => server.signal(name),
        broker: (port) =>
          postgresBroker(`postgres://postgres@127.0.0.1:${port}${url.pathname}`, {
            ...QUICK,
            statementTimeout: 1000,
          }),
        isListener: (chunk) => chunk.includes('LISTEN "'),
        kill: () => server.kill(),
        start: () => server.start(),
        async loseAll() {
          await server.kill();
          await server.start();
          await query('TRUNCATE tidings.control, tidings.control_log, tidings.control_record');
        },
        async loseNewest() {
          await query(
            `DELETE FROM tidings.control_log WHERE number = (SELECT top FROM tidings.control);
            UPDATE tidings.control SET top = top - 1`,
          );
        },
        async setBack(dead) {
          await query(
            `UPDATE tidings.control SET since = since + ${YEAR};
            INSERT INTO tidings.control_lease VALUES ('${dead}', '${dead}', 0, tidings.clock() + ${YEAR})`,
          );
        },
        async fill(records) {
          // And somebody has removed one by himself.
          await query(
            `INSERT INTO tidings.control_record
              SELECT 'k' || i, 1, CASE i WHEN 0 THEN 2 ELSE float8 'Infinity' END, '' FROM generate_series(0, ${records}) i;
            UPDATE tidings.control SET records = ${records + 1};
            DELETE FROM tidings.control_record WHERE key = 'k2'`,
          );
        },
        async trim() {
          await query('DELETE FROM tidings.control_log');
        },
        count: async () =>
          Number((await query('SELECT count(*) AS count FROM tidings.control_log'))[0]!['count']),
        stop: async () => {},
      };
    },
  },
];

/** A real MariaDB of the test's own, on a free loopback port, with its data in a temporary folder. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { dataFolder, killed, userToRunAs } from './server-process.ts';

export interface MariadbServer {
  readonly port: number;
  /** Of the server, as the administrator, who has no password; without a database. */
  readonly url: string;
  readonly process: ChildProcess;
  /** An empty database of its own: its URL. */
  database(): Promise<string>;
  /** Runs SQL as the administrator, each time on a new connection; of several statements the rows of the last. */
  query(text: string, url?: string): Promise<Record<string, unknown>[]>;
  /** Ends it at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same folder. */
  start(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

let databases = 0;

/** @param settings of its command line, such as `--innodb-lock-wait-timeout=5` */
export async function startMariadb(settings: string[] = []): Promise<MariadbServer> {
  const program = find('mariadb');
  if (program === undefined) throw new Error('MariaDB is not installed');
  const port = await freePort();
  const root = dataFolder('mariadb');
  const folder = join(root, 'data');
  const user = userToRunAs('mysql');
  mkdirSync(folder, { mode: 0o700 });
  if (user !== undefined) for (const path of [root, folder]) chownSync(path, user.uid, user.gid);
  const filled = spawnSync(
    'mariadb-install-db',
    ['--no-defaults', `--datadir=${folder}`, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { ...user, encoding: 'utf8', cwd: root },
  );
  if (filled.status !== 0)
    throw new Error(`mariadb-install-db failed: ${filled.error?.message ?? filled.stderr}`);
  const own = [
    '--no-defaults',
    `--datadir=${folder}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    `--socket=${join(root, 'socket')}`,
    `--pid-file=${join(root, 'pid')}`,
    '--skip-name-resolve',
    '--max-connections=400',
    '--innodb-buffer-pool-size=64M',
    // A crash of the process loses nothing either way.
    '--innodb-flush-log-at-trx-commit=2',
  ];
  const url = `mysql://root@127.0.0.1:${port}`;
  let child: ChildProcess;
  let output = '';

  const query = async (text: string, at: string = url): Promise<Record<string, unknown>[]> => {
    const connection = await mysql.createConnection({
      uri: at.replace(/^mariadb:/, 'mysql:'),
      multipleStatements: true,
    });
    try {
      const [rows] = await connection.query(text);
      const last = Array.isArray(rows) ? rows.at(-1) : undefined;
      return (Array.isArray(last) ? last : rows) as unknown as Record<string, unknown>[];
    } finally {
      await connection.end();
    }
  };
  const start = async (): Promise<void> => {
    child = spawn(program, [...own, ...settings], {
      ...user,
      stdio: ['ignore', 'ignore', 'pipe'],
      cwd: root,
    });
    output = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-10_000);
    });
    await until('MariaDB to start', async () => {
      if (child.exitCode !== null) throw new Error(`MariaDB did not start:\n${output}`);
      return query('SELECT 1').then(
        () => true,
        () => false,
      );
    });
  };
  const kill = (): Promise<void> => killed(child);

  await start();
  return {
    port,
    url,
    get process() {
      return child;
    },
    async database() {
      const name = `test_${++databases}`;
      await query(`CREATE DATABASE ${name}`);
      return `${url}/${name}`;
    },
    query,
    kill,
    start,
    async stop() {
      await kill();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/** A real PostgreSQL of the test's own, on a free loopback port, with its data in a temporary folder. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { dataFolder, userToRunAs } from './server-process.ts';

export interface PostgresServer {
  readonly port: number;
  /** Of the database `postgres`, as the superuser. */
  readonly url: string;
  /** The folder with its data. */
  readonly folder: string;
  readonly process: ChildProcess;
  /** An empty database of its own: its URL. */
  database(): Promise<string>;
  /** As `database`, but an instance of tidings was here before and has made its tables: that costs twice as much as the database. */
  preparedDatabase(): Promise<string>;
  /** Runs SQL as the superuser, each time on a new connection; of several statements the rows of the last. */
  query(text: string, url?: string): Promise<Record<string, unknown>[]>;
  /** Runs one of PostgreSQL's own programs, as the user that the server runs as. */
  run(program: string, args: string[]): void;
  /** Gives a file, or a folder with all in it, to that user. */
  own(path: string): void;
  /** Ends it and all of its processes at once, as a crash would. */
  kill(): Promise<void>;
  /** Starts it again on the same port with the same folder. */
  start(): Promise<void>;
  /** All of its processes stand still, or go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Of one that was killed: it has what a copy of its data has, with its own settings; without one, nothing. */
  refill(from?: string): void;
  /** Ends it in good order: sessions are told. */
  shut(): Promise<void>;
  /** Ends it and removes its folder. */
  stop(): Promise<void>;
}

export interface PostgresSetup {
  /** Whether what is committed outlives a crash of the machine, too. Default false: kill() loses nothing either way. */
  isDurable?: boolean;
  /** Lines for postgresql.conf. */
  settings?: string[];
  /** Fills the folder, in place of `initdb`; it may do so by a program of PostgreSQL's, such as `pg_basebackup`. */
  fill?: (folder: string, run: (program: string, args: string[]) => void) => void;
}

const SUPERUSER = 'postgres';
let databases = 0;

export async function startPostgres({
  isDurable = false,
  settings = [],
  fill,
}: PostgresSetup = {}): Promise<PostgresServer> {
  const found = find('postgres');
  if (found === undefined) throw new Error('PostgreSQL is not installed');
  // Others of its programs are beside it, which need not be on PATH.
  const program = realpathSync(found);
  const port = await freePort();
  const root = dataFolder('postgres');
  const folder = join(root, 'data');
  const user = userToRunAs('postgres');
  mkdirSync(folder, { mode: 0o700 });
  if (user !== undefined) for (const path of [root, folder]) chownSync(path, user.uid, user.gid);
  const run = (name: string, args: string[]): void => {
    const { status, stderr, error } = spawnSync(join(dirname(realpathSync(program)), name), args, {
      ...user,
      encoding: 'utf8',
      cwd: root,
    });
    if (status !== 0) throw new Error(`${name} failed: ${error?.message ?? stderr}`);
  };
  if (fill !== undefined) fill(folder, run);
  else copy(emptyCluster(dirname(program), root, run), folder);
  const own = [
    `port = ${port}`,
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${root}'`,
    'max_connections = 200',
    // In its folder, and gone with that, however it ends.
    'dynamic_shared_memory_type = mmap',
  ];
  if (!isDurable) own.push('fsync = off', 'full_page_writes = off');
  appendFileSync(join(folder, 'postgresql.conf'), `${[...own, ...settings].join('\n')}\n`);
  const url = `postgres://${SUPERUSER}@127.0.0.1:${port}/postgres`;
  let child: ChildProcess;
  let output = '';

  const query = async (text: string, at: string = url): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: at });
    client.on('error', () => {});
    await client.connect();
    try {
      const result = await client.query(text);
      return (Array.isArray(result) ? result.at(-1)!.rows : result.rows) as Record<string, unknown>[];
    } finally {
      await client.end();
    }
  };
  const start = async (): Promise<void> => {
    // A crash leaves it there, and its number may be another process's by now.
    rmSync(join(folder, 'postmaster.pid'), { force: true });
    child = spawn(program, ['-D', folder], { ...user, stdio: ['ignore', 'ignore', 'pipe'], cwd: root });
    output = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-10_000);
    });
    await until('PostgreSQL to start', async () => {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start:\n${output}`);
      return query('SELECT 1').then(
        () => true,
        () => false,
      );
    });
  };
  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
  const kill = async (): Promise<void> => {
    if (!isRunning()) return;
    const exited = once(child, 'exit');
    // The others end when they notice, which takes a while: they hold the port and the shared memory.
    const all = childrenOf(child.pid!);
    child.kill('SIGKILL');
    for (const pid of all) tryKill(pid);
    await exited;
    await until('its processes to be gone', () => all.every((pid) => !isAlive(pid)));
  };

  const database = async (template = 'template1'): Promise<string> => {
    const name = `test_${++databases}`;
    await query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
    return `postgres://${SUPERUSER}@127.0.0.1:${port}/${name}`;
  };
  let prepared: Promise<string> | undefined;
  /** Its name. */
  const prepare = async (): Promise<string> => {
    const made = await database();
    const { postgresBroker } = await import('../../src/pubsub/store/postgres-broker.ts');
    const broker = postgresBroker(made, { connections: 1 });
    await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
    await broker.close();
    return new URL(made).pathname.slice(1);
  };

  await start();
  return {
    port,
    url,
    folder,
    get process() {
      return child;
    },
    database: () => database(),
    async preparedDatabase() {
      prepared ??= prepare();
      return database(await prepared);
    },
    query,
    run,
    own(path) {
      if (user === undefined) return;
      chownSync(path, user.uid, user.gid);
      if (!statSync(path).isDirectory()) return;
      chmodSync(path, 0o700);
      for (const name of readdirSync(path, { recursive: true }))
        chownSync(join(path, String(name)), user.uid, user.gid);
    },
    kill,
    start,
    signal(name) {
      const pid = child.pid!;
      // The first is the one that starts others.
      const all = name === 'SIGSTOP' ? [pid, ...childrenOf(pid)] : [...childrenOf(pid), pid];
      for (const one of all) tryKill(one, name);
    },
    refill(from = emptyCluster(dirname(program), root, run)) {
      const file = join(folder, 'postgresql.conf');
      const kept = readFileSync(file);
      for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true });
      copy(from, folder);
      writeFileSync(file, kept);
    },
    async shut() {
      const exited = once(child, 'exit');
      child.kill('SIGINT');
      await exited;
    },
    async stop() {
      await kill();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

/**
 * What `initdb` makes, once for all tests on this machine: it takes seconds, and a copy next to nothing.
 *
 * @param root of the server that is about to start: where `initdb` may write
 */
function emptyCluster(bin: string, root: string, run: (program: string, args: string[]) => void): string {
  const initdb = join(bin, 'initdb');
  const made = join(CACHE, `${realpathSync(initdb)} ${statSync(initdb).mtimeMs}`.replace(/\W+/g, '-'));
  if (existsSync(made)) return made;
  const fresh = join(root, 'fresh');
  const how = [
    '-U',
    SUPERUSER,
    '--auth',
    'trust',
    '--no-sync',
    '-E',
    'UTF8',
    '--locale',
    'C.UTF-8',
    '--no-instructions',
  ];
  run('initdb', ['-D', fresh, ...how]);
  const whole = `${made}-${process.pid}`;
  mkdirSync(CACHE, { recursive: true });
  copy(fresh, whole);
  rmSync(fresh, { recursive: true });
  try {
    renameSync(whole, made);
  } catch {
    // Somebody else was quicker.
    rmSync(whole, { recursive: true, force: true });
  }
  return made;
}
const CACHE = fileURLToPath(new URL('../../node_modules/.cache/tidings-postgres', import.meta.url));

/** A folder with everything in it, whose owner stays. */
function copy(from: string, to: string): void {
  const { status, stderr } = spawnSync('cp', ['-a', `${from}/.`, to], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cp failed: ${stderr}`);
}

function childrenOf(pid: number): number[] {
  const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  return (stdout ?? '')
    .split('\n')
    .map(Number)
    .filter((child) => child > 0);
}

function tryKill(pid: number, signal: NodeJS.Signals = 'SIGKILL'): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** A PostgreSQL that stands alone, or is the primary of another one. */
import { execFile, execFileSync } from 'node:child_process';
import { appendFileSync, realpathSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type PostgresServer, startPostgres } from '../support/postgres.ts';
import { find } from '../support/programs.ts';
import type { StoreTarget } from './store-target.ts';
import type { LoneStore } from './stores.ts';

const run = promisify(execFile);

/** Arguments for `pg_basebackup`. */
const backupOf = (port: number, folder: string): string[] => [
  ...['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', '-D', folder],
  ...['--checkpoint=fast', '--no-sync', '--wal-method=stream'],
];

const SETTINGS = ['shared_buffers = 32MB', 'log_min_messages = fatal'];

export class LonePostgres implements LoneStore {
  readonly server: PostgresServer;
  readonly #snapshot: string;

  private constructor(server: PostgresServer) {
    this.server = server;
    this.#snapshot = `${server.folder}.saved`;
  }

  /** It writes to the disk what it confirms, and keeps it. */
  static async start(): Promise<LonePostgres> {
    return new LonePostgres(await startPostgres({ isDurable: true, settings: SETTINGS }));
  }

  /** A standby of this one, that has caught up. */
  async standby(): Promise<LonePostgres> {
    const { port } = this;
    const server = await startPostgres({
      isDurable: true,
      settings: SETTINGS,
      fill: (folder, run) => {
        rmSync(folder, { recursive: true });
        run('pg_basebackup', [...backupOf(port, folder), '-R']);
      },
    });
    return new LonePostgres(server);
  }

  /** Of one that was ended in good order: it starts as a standby. */
  follow(primary: LonePostgres): void {
    const { folder } = this.server;
    writeFileSync(join(folder, 'standby.signal'), '');
    const settings = `primary_conninfo = 'host=127.0.0.1 port=${primary.port} user=postgres'\nrecovery_target_timeline = latest\n`;
    appendFileSync(join(folder, 'postgresql.conf'), settings);
  }

  get port(): number {
    return this.server.port;
  }

  at(port: number): StoreTarget {
    return { kind: 'postgres', target: `postgres://postgres@127.0.0.1:${port}/postgres` };
  }

  label(chunk: Buffer): string | undefined {
    const text = chunk.toString('latin1');
    if (/\bLISTEN "/.test(text)) return 'subscriber';
    return text.includes('"tidings".') ? 'commands' : undefined;
  }

  query(text: string): Promise<Record<string, unknown>[]> {
    return this.server.query(text);
  }

  kill(): Promise<void> {
    return this.server.kill();
  }

  start(): Promise<void> {
    return this.server.start();
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.server.signal(name);
  }

  async dropClients(): Promise<void> {
    await this.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
  }

  async save(): Promise<void> {
    rmSync(this.#snapshot, { recursive: true, force: true });
    const program = join(dirname(realpathSync(find('postgres')!)), 'pg_basebackup');
    // Asynchronously, as what is saved is written to meanwhile.
    await run(program, backupOf(this.port, this.#snapshot));
    const { uid, gid } = statSync(this.server.folder);
    execFileSync('chown', ['-R', `${uid}:${gid}`, this.#snapshot]);
  }

  rewind(): void {
    this.server.refill(this.#snapshot);
  }

  empty(): void {
    this.server.refill();
  }

  async stop(): Promise<void> {
    await this.server.stop();
    rmSync(this.#snapshot, { recursive: true, force: true });
  }
}

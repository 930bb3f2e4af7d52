/** A real PgBouncer that pools by transactions, before a PostgreSQL of a test's own. */
import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { freePort, until } from './net.ts';
import { find } from './programs.ts';
import { killed, userToRunAs } from './server-process.ts';

export interface PgBouncer {
  readonly port: number;
  stop(): Promise<void>;
}

/** @param size connections to the server, of each user to each database */
export async function startPgBouncer(server: { port: number }, size: number): Promise<PgBouncer> {
  const program = find('pgbouncer');
  if (program === undefined) throw new Error('PgBouncer is not installed');
  const folder = mkdtempSync(join(tmpdir(), 'tidings-pgbouncer-'));
  const port = await freePort();
  const user = userToRunAs('postgres');
  writeFileSync(join(folder, 'users'), '"postgres" ""\n');
  const lines = [
    '[databases]',
    `* = host=127.0.0.1 port=${server.port}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = trust',
    `auth_file = ${folder}/users`,
    'pool_mode = transaction',
    `default_pool_size = ${size}`,
  ];
  writeFileSync(join(folder, 'ini'), lines.join('\n'));
  if (user !== undefined)
    for (const path of [folder, join(folder, 'users'), join(folder, 'ini')])
      chownSync(path, user.uid, user.gid);
  const child = spawn(program, [join(folder, 'ini')], { ...user, stdio: 'ignore', cwd: folder });
  await until('PgBouncer to listen', async () => {
    const client = new pg.Client(`postgres://postgres@127.0.0.1:${port}/postgres`);
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query('SELECT 1');
      return true;
    } catch {
      return false;
    } finally {
      await client.end().catch(() => {});
    }
  });
  return {
    port,
    async stop() {
      await killed(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

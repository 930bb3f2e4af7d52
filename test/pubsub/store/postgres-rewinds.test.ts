/** A PostgreSQL that comes back with less than it had: that is noticed, and told. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Broker, Position } from '../../../src/pubsub/store/broker.ts';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';
import { cleanups } from '../../support/cleanups.ts';
import { until } from '../../support/net.ts';
import { type PostgresServer, startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { options, Recorder, text } from './broker-suite.ts';

const postgres = { ...needs('postgres'), timeout: 120_000 };
const fast = { connections: 4, reconnectMinDelay: 10, reconnectMaxDelay: 100, publishMaxWait: 60_000 };

async function open(url: string): Promise<[Broker, Recorder]> {
  const broker = postgresBroker(url, fast);
  cleanups.push(() => broker.close());
  const recorder = new Recorder();
  await broker.open(recorder);
  return [broker, recorder];
}

async function started(...args: Parameters<typeof startPostgres>): Promise<PostgresServer> {
  const server = await startPostgres(...args);
  cleanups.push(() => server.stop());
  return server;
}

async function fill(broker: Broker, channel: string, from: number, to: number): Promise<Position[]> {
  const positions: Position[] = [];
  for (let i = from; i <= to; i++) {
    const { epoch, offset, id } = await broker.publish(channel, 'text', text(`${i}`), options());
    positions.push({ epoch, offset, id });
  }
  return positions;
}

const epochOf = async (broker: Broker, channel: string): Promise<string> =>
  (await broker.read(channel, 0, 0)).top.epoch;

/** What is promised after a loss, of `rewind`, which takes the store back to where it was when `remember` was called. */
async function promise(
  url: string,
  remember: (heard: Recorder) => Promise<void>,
  rewind: () => Promise<void>,
): Promise<void> {
  const [a, heard] = await open(url);
  const [b] = await open(url);
  // Heard of, sent from here without a subscription, only read, marked, and one that loses nothing.
  const names = ['heard', 'sent', 'read', 'marked', 'whole'] as const;
  for (const name of ['heard', 'marked', 'whole']) await a.subscribe(name);
  await a.subscribe('read');
  const before = new Map<string, Position[]>();
  for (const name of names) before.set(name, await fill(name === 'heard' ? b : a, name, 1, 3));
  await a.mark('marked', { as: 'seen', messages: [before.get('marked')![0]!] });
  await until('all of them', () => heard.messages.length === 12);
  await remember(heard);

  for (const name of ['heard', 'sent', 'marked']) await fill(name === 'heard' ? b : a, name, 4, 6);
  await fill(b, 'new', 1, 2);
  await fill(b, 'read', 4, 4);
  await a.read('read', 0, 10);
  await until('all of them', () => heard.messages.length === 19);
  await a.mark('marked', { as: 'read', upTo: before.get('marked')![2]! });
  const { marks } = await a.marks('marked');
  assert.deepEqual(marks.read, [[1, 3]]);
  const ups = heard.ups;
  await rewind();
  await until('it to be back', () => heard.ups > ups);

  for (const name of ['heard', 'sent', 'read', 'marked']) {
    const { messages, top } = await a.read(name, 0, 100);
    assert.equal(top.offset, 3, `${name} has lost some`);
    assert.equal(messages.length, 3);
    assert.notEqual(top.epoch, before.get(name)![0]!.epoch, `${name} has another epoch`);
    const { offset, epoch } = await b.publish(name, 'text', text('again'), options());
    assert.deepEqual([offset, epoch], [4, top.epoch], 'what is stored next counts on');
  }
  assert.equal(await epochOf(a, 'whole'), before.get('whole')![0]!.epoch, 'what has lost nothing keeps it');
  // One that was not there yet begins as one that has lost something.
  const { top } = await b.read('new', 0, 10);
  assert.match(top.epoch, /fffffffffff$/);
  // Marks are what they have come back as, in another epoch of their own.
  const marked = await a.marks('marked');
  assert.deepEqual([marked.marks.seen, marked.marks.read], [[[1, 1]], []]);
  assert.notEqual(marked.marks.version.epoch, marks.version.epoch);
  // An acknowledgement of what was lost moves nothing.
  await a.acknowledge(
    { channel: 'heard', device: 'd', position: { ...before.get('heard')![2]!, offset: 4 } },
    60_000,
  );
  assert.deepEqual(await a.cursors('heard'), []);
}

test('a data folder that is put back from a copy', postgres, async () => {
  const server = await started();
  const copy = `${server.folder}-copy`;
  cleanups.push(async () => rmSync(copy, { recursive: true, force: true }));
  await promise(
    server.url,
    async (heard) => {
      const { ups } = heard;
      await server.kill();
      cpSync(server.folder, copy, { recursive: true, preserveTimestamps: true });
      await server.start();
      // Who is not yet back hears nothing of what is stored.
      await until('it to be heard again', () => heard.ups > ups);
    },
    async () => {
      await server.kill();
      putBack(copy, server);
      await server.start();
    },
  );
});

test('a recovery to a point in time, from a base backup and the log of changes', postgres, async () => {
  const server = await started({
    settings: ['archive_mode = on', "archive_command = 'cp %p ../archive/%f'", 'wal_level = replica'],
  });
  const archive = join(server.folder, '../archive');
  const backup = join(server.folder, '../backup');
  mkdirSync(archive, { mode: 0o777 });
  server.own(archive);
  await promise(
    server.url,
    async () => {
      server.run('pg_basebackup', [
        '-D',
        backup,
        '-h',
        '127.0.0.1',
        '-p',
        String(server.port),
        '-U',
        'postgres',
        '--no-sync',
        '-c',
        'fast',
      ]);
      await server.query("SELECT pg_create_restore_point('before')");
    },
    async () => {
      await server.query('SELECT pg_switch_wal()');
      await until('all of it to be kept', async () => {
        const [row] = await server.query(
          'SELECT last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1) AS done FROM pg_stat_archiver',
        );
        return row!.done;
      });
      await server.kill();
      putBack(backup, server);
      writeFileSync(
        join(server.folder, 'postgresql.auto.conf'),
        "restore_command = 'cp ../archive/%f %p'\nrecovery_target_name = 'before'\nrecovery_target_action = 'promote'\n",
      );
      writeFileSync(join(server.folder, 'recovery.signal'), '');
      for (const file of ['postgresql.auto.conf', 'recovery.signal']) server.own(join(server.folder, file));
      await server.start();
    },
  );
});

test('a failover to a standby that was behind, found by its address among both', postgres, async () => {
  const primary = await started({ settings: ['wal_level = replica', 'hot_standby = on'] });
  const standby = await started({
    fill: (folder, run) =>
      run('pg_basebackup', [
        '-D',
        folder,
        '-h',
        '127.0.0.1',
        '-p',
        String(primary.port),
        '-U',
        'postgres',
        '--no-sync',
        '-R',
        '-c',
        'fast',
      ]),
  });
  const url = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`;
  await promise(
    url,
    async () => {
      const [at] = await primary.query('SELECT pg_current_wal_lsn()::text AS lsn');
      await until('the standby to have it', async () => {
        const [row] = await standby.query(`SELECT pg_last_wal_replay_lsn() >= '${at!.lsn}' AS done`);
        return row!.done;
      });
      // From here on it gets nothing any more.
      await standby.query("ALTER SYSTEM SET primary_conninfo = ''");
      await standby.query('SELECT pg_reload_conf()');
      await until(
        'it to be cut off',
        async () => (await primary.query('SELECT FROM pg_stat_replication')).length === 0,
      );
    },
    async () => {
      await primary.kill();
      await standby.query('SELECT pg_promote()');
    },
  );
});

test(
  'a primary that becomes a standby is left for the new one, and a failover that loses nothing is no loss',
  postgres,
  async () => {
    const primary = await started({
      settings: [
        'wal_level = replica',
        "synchronous_standby_names = '*'",
        'synchronous_commit = remote_apply',
      ],
      isDurable: true,
    });
    const standby = await started({
      fill: (folder, run) =>
        run('pg_basebackup', [
          '-D',
          folder,
          '-h',
          '127.0.0.1',
          '-p',
          String(primary.port),
          '-U',
          'postgres',
          '--no-sync',
          '-R',
          '-c',
          'fast',
        ]),
    });
    const [broker, heard] = await open(
      `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`,
    );
    await broker.subscribe('x');
    const before = await one(broker);
    await standby.query("ALTER SYSTEM SET synchronous_standby_names = ''");
    await standby.query('SELECT pg_reload_conf()');
    await primary.shut();
    await standby.query('SELECT pg_promote()');
    writeFileSync(join(primary.folder, 'standby.signal'), '');
    primary.own(join(primary.folder, 'standby.signal'));
    await primary.start();
    await until('it to be back', () => heard.ups === 1);
    const { top } = await broker.read('x', 0, 10);
    assert.deepEqual(top, before);
    await broker.publish('x', 'text', text('y'), options());
    await until('both', () => heard.messages.length === 2);
  },
);

async function one(broker: Broker): Promise<Position> {
  const { epoch, offset, id } = await broker.publish('x', 'text', text('x'), options());
  return { epoch, offset, id };
}

/** In place of what is there. */
function putBack(copy: string, server: PostgresServer): void {
  const { folder } = server;
  rmSync(folder, { recursive: true, force: true });
  cpSync(copy, folder, { recursive: true, preserveTimestamps: true });
  server.own(folder);
}

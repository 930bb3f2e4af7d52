/** `confirm: 'replicated'` where the store is PostgreSQL: its commits wait for standbys, or the sender is told that they don't. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PushServer, postgresBroker, ReplicationError } from '../../../src/index.ts';
import { waitedFor } from '../../../src/pubsub/store/postgres-standbys.ts';
import { cleanups } from '../../support/cleanups.ts';
import { startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { options, text } from './broker-suite.ts';
import { open } from './postgres-brokers.ts';

const patient = { ...needs('postgres'), timeout: 120_000 };

test('for how many standbys a commit waits is read as PostgreSQL reads it', () => {
  for (const [names, waits, count] of [
    ['', 'on', 0],
    ['  ', 'on', 0],
    ['*', 'on', 1],
    ['a, b', 'remote_write', 1],
    ['"2 (x)"', 'remote_apply', 1],
    ['2 (a, b, c)', 'on', 2],
    ['FIRST 3 (a, b, c)', 'on', 3],
    [' any 2(*)', 'on', 2],
    ['any, first', 'on', 1],
    ['*', 'local', 0],
    ['*', 'off', 0],
  ] as const) {
    assert.equal(waitedFor(names, waits), count, `${names} ${waits}`);
  }
});

test(
  'a sender who wants a replica is told that PostgreSQL waits for none: the message is stored, once and in order',
  patient,
  async () => {
    const postgres = await startPostgres();
    cleanups.push(() => postgres.stop());
    const push = new PushServer({ broker: postgresBroker(postgres.url, { connections: 4 }), log: () => {} });
    cleanups.push(() => push.close());
    await push.ready;
    const [first, second, third] = await Promise.allSettled([
      push.send('alice', 1, { confirm: 'replicated', idempotencyKey: 'k' }),
      push.send('alice', 2),
      push.publish('news', 3, { confirm: 'replicated' }),
    ]);
    for (const [outcome, channel] of [
      [first, 'user:alice'],
      [third, 'news'],
    ] as const) {
      assert.equal(outcome.status, 'rejected');
      const { reason } = outcome as PromiseRejectedResult;
      assert.ok(reason instanceof ReplicationError);
      assert.equal(reason.code, 'POSTGRES_NOT_REPLICATED');
      assert.deepEqual([reason.receipt.channel, reason.receipt.offset, reason.confirmed], [channel, 1, 0]);
      assert.match(reason.message, /is stored, but .* 0 of 1 standbys: synchronous_standby_names/);
    }
    assert.equal(second.status === 'fulfilled' && second.value.offset, 2);
    await assert.rejects(push.send('alice', 1, { confirm: 'replicated', idempotencyKey: 'k' }), {
      code: 'POSTGRES_NOT_REPLICATED',
    });
    const again = await push.send('alice', 1, { idempotencyKey: 'k' });
    assert.deepEqual([again.offset, again.duplicate], [1, true]);
  },
);

test(
  'where its commits wait for a standby, it is confirmed, for as many as they wait for',
  patient,
  async () => {
    const primary = await startPostgres({ settings: ['wal_level = replica'] });
    cleanups.push(() => primary.stop());
    const [broker] = await open(primary.url);
    const publish = (replicas: number) =>
      broker.publish('x', 'text', text('x'), options({ replicas, replicaTimeout: 60_000 }));
    await assert.rejects(publish(1), { code: 'POSTGRES_NOT_REPLICATED', confirmed: 0 });
    const copied = ['-h', '127.0.0.1', '-p', String(primary.port), '-U', 'postgres'];
    const standby = await startPostgres({
      fill: (folder, run) => run('pg_basebackup', ['-D', folder, ...copied, '--no-sync', '-R', '-c', 'fast']),
    });
    cleanups.push(() => standby.stop());
    await primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'");
    await primary.query('SELECT pg_reload_conf()');
    // A connection takes the settings over with its next statement.
    const { offset } = await publish(1).catch(() => publish(1));
    assert.ok(offset >= 2);
    await assert.rejects(publish(2), { code: 'POSTGRES_NOT_REPLICATED', confirmed: 1 });
    assert.ok((await publish(0)).offset > offset);
  },
);

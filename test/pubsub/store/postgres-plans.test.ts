/** What is planned once for a session, and not for each call (sql/base.sql). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { cleanups, started } from '../../support/cleanups.ts';
import { startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { open } from './postgres-brokers.ts';

test('a function in SQL that gives a value becomes part of who calls it', {
  ...needs('postgres'),
  timeout: 60_000,
}, async () => {
  const server = await started(startPostgres());
  const url = await server.database();
  await open(url);
  const client = new pg.Client(url);
  await client.connect();
  cleanups.push(() => client.end());
  await client.query('CREATE TEMPORARY TABLE given (text text, bigint bigint, integer int)');
  const { rows } = await client.query<{ call: string }>(
    `SELECT format('tidings.%I(%s)', proname, (
        SELECT string_agg(quote_ident(format_type(type, NULL)), ', ' ORDER BY place)
        FROM unnest(proargtypes) WITH ORDINALITY AS of (type, place)
      )) AS call
      FROM pg_proc JOIN pg_language l ON l.oid = prolang
      WHERE pronamespace = 'tidings'::regnamespace AND lanname = 'sql' AND NOT proretset AND prorettype <> 'void'::regtype`,
  );
  assert.ok(rows.length >= 6);
  for (const { call } of rows) {
    const plan = await client.query(`EXPLAIN (VERBOSE, FORMAT JSON) SELECT ${call} FROM given`);
    assert.doesNotMatch(JSON.stringify(plan.rows), /tidings\./, call);
  }
});

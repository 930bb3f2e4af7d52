/** A page over a PostgreSQL shows what applications commit, in Chromium, and goes on where it was when the database has crashed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { postgresBroker } from '../../src/index.ts';
import { until } from '../support/net.ts';
import { startPostgres } from '../support/postgres.ts';
import { needs } from '../support/programs.ts';
import { Site } from './shared-tabs.ts';

test('a page shows the messages of committed transactions, in order and once, across a crash of the database; none that was rolled back', {
  ...needs('chromium', 'postgres'),
  timeout: 540_000,
}, async (t) => {
  const postgres = await startPostgres();
  t.after(() => postgres.stop());
  const store = await postgres.database();
  const site = await Site.start({ broker: postgresBroker(store) });
  t.after(() => site.stop());
  const options = `{ user: 'alice', share: false, reconnect: { min: 1, max: 100 } }`;
  const tab = await site.open(options);
  // The next one has nothing but SockJS.
  await site.context.addInitScript('delete globalThis.WebSocket');
  const tabs = [tab, await site.open(options)];
  const begin = async (): Promise<{
    send(data: unknown): Promise<void>;
    end(how: string): Promise<void>;
  }> => {
    const client = new pg.Client({ connectionString: store });
    client.on('error', () => {});
    await client.connect();
    await client.query('BEGIN');
    return {
      async send(data) {
        await client.query(`SELECT tidings.send('alice', $1::jsonb)`, [JSON.stringify(data)]);
      },
      async end(how) {
        await client.query(how);
        await client.end();
      },
    };
  };
  const done = async (how: 'COMMIT' | 'ROLLBACK', ...all: unknown[]): Promise<void> => {
    const transaction = await begin();
    for (const data of all) await transaction.send(data);
    await transaction.end(how);
  };
  const show = (last: unknown): Promise<unknown> =>
    Promise.all(
      tabs.map(({ page }) =>
        until(`${last}`, async () => (await page.evaluate('seen.at(-1)')) === last, 120_000),
      ),
    );

  // The one that was opened first is committed last.
  const slow = await begin();
  await slow.send(3);
  await done('ROLLBACK', 'never');
  await done('COMMIT', 1, 2);
  await show(2);
  await slow.end('COMMIT');
  await show(3);

  // Nobody has committed this one when the database goes, and the page loses its connection, too.
  await (await begin()).send('lost');
  await postgres.kill();
  await until('the instance to notice', () => site.push.health().storeAwayFor !== undefined);
  await tab.page.evaluate('socket.close()');
  await postgres.start();
  await done('COMMIT', 4, 5);
  await done('ROLLBACK', 'never');
  await done('COMMIT', 6);
  await show(6);
  await until('the page to be back', async () =>
    Boolean(await tab.page.evaluate(`client.state.name === 'connected'`)),
  );
  await done('COMMIT', 7);
  await show(7);
  for (const { page, errors } of tabs) {
    assert.deepEqual(await page.evaluate('seen'), [1, 2, 3, 4, 5, 6, 7]);
    assert.equal(await page.evaluate(`log.filter(([name]) => name === 'gap').length`), 0);
    assert.deepEqual(errors, []);
  }
});

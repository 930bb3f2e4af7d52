/** What happens to a PostgreSQL that has a standby. */
import type { LonePostgres } from '../lone-postgres.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

/** A standby of the stage's database. */
export async function standbyOf(stage: Stage): Promise<LonePostgres> {
  const standby = await (stage.lone as LonePostgres).standby();
  stage.atEnd(() => standby.stop());
  return standby;
}

/** From here on new connections lead to it. */
export async function promote(stage: Stage, standby: LonePostgres): Promise<void> {
  await standby.query('SELECT pg_promote(true)');
  stage.storePort = standby.port;
}

/** What is confirmed is on the standby, too. */
async function waitForStandby(stage: Stage): Promise<void> {
  const primary = stage.lone as LonePostgres;
  await primary.query(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
  await primary.query('SELECT pg_reload_conf()');
  await stage.until('the standby to be waited for', async () => {
    const [row] = await primary.query('SELECT sync_state FROM pg_stat_replication');
    return row?.['sync_state'] === 'sync';
  });
}

export const promoted: Scenario = {
  name: 'postgres-failover',
  what: 'kill -9 of a primary that waits for its standby, which is promoted',
  expects: 'complete',
  stores: ['postgres'],
  async play(stage) {
    const standby = await standbyOf(stage);
    await waitForStandby(stage);
    await stage.more(0.3);
    await stage.lone.kill();
    await promote(stage, standby);
    await stage.recovered();
  },
};

export const lossilyPromoted: Scenario = {
  name: 'postgres-lossy-promotion',
  what: 'the standby is cut off, the primary takes more writes and dies, and the standby, which lacks them, is promoted',
  expects: 'told',
  stores: ['postgres'],
  async play(stage) {
    const primary = stage.lone as LonePostgres;
    const standby = await standbyOf(stage);
    await stage.more(0.2);
    const away = stage.pages.filter((_, k) => k % 2 === 0);
    for (const page of away) page.close();
    await stage.more(0.05);
    await standby.query(`ALTER SYSTEM SET primary_conninfo = ''`);
    await standby.query('SELECT pg_reload_conf()');
    await stage.until('the standby to be cut off', async () => {
      const [row] = await primary.query('SELECT count(*)::int AS count FROM pg_stat_replication');
      return row?.['count'] === 0;
    });
    await stage.more(0.1);
    await stage.lone.kill();
    await promote(stage, standby);
    for (const page of away) page.reopen();
    await stage.recovered();
  },
};

export const switchedOver: Scenario = {
  name: 'postgres-switchover',
  what: 'a switchover that the address of the database learns late: the old primary comes back as a standby, which can only be read, until the name is moved',
  expects: 'complete',
  stores: ['postgres'],
  async play(stage) {
    const former = stage.lone as LonePostgres;
    const standby = await standbyOf(stage);
    await stage.more(0.2);
    // In good order, so that the standby has all of it.
    await former.server.shut();
    await standby.query('SELECT pg_promote(true)');
    former.follow(standby);
    await former.start();
    stage.back.arrivals.length = 0;
    const stale = stage.plan.isShort ? 2000 : 5000;
    await new Promise((resolve) => setTimeout(resolve, stale));
    const tries = stage.back.arrivals.length;
    stage.note(`${tries} connections in ${stale / 1000} s in which only a standby could be reached`);
    stage.storePort = standby.port;
    await stage.recovered();
    await stage.more(0.2);
    stage.check(tries > 0, 'nobody noticed the switchover: the scenario proves nothing');
    // Three pools of each instance, each of which waits half a second between two tries in the end.
    const most = stage.instances.length * 3 * (8 + stale / 250);
    stage.check(tries <= most, `${tries} connections in ${stale} ms, at most ${most} were to be`);
  },
};

export const slowStandby: Scenario = {
  name: 'postgres-no-standby',
  what: 'the primary waits for a standby that is gone, and confirms nothing; pages come and go meanwhile, and nobody gives up',
  expects: 'complete',
  stores: ['postgres'],
  async play(stage) {
    const primary = stage.lone as LonePostgres;
    await stage.more(0.2);
    const { failures } = stage.publisher;
    await primary.query(`ALTER SYSTEM SET synchronous_standby_names = 'nobody'`);
    await primary.query('SELECT pg_reload_conf()');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const { total } = stage.publisher;
    await new Promise((resolve) => setTimeout(resolve, 1000));
    stage.check(stage.publisher.total === total, 'something was confirmed that no standby has');
    stage.front.cut();
    await stage.until('pages that are back', () => stage.connecting === 0);
    await primary.query('ALTER SYSTEM RESET synchronous_standby_names');
    await primary.query('SELECT pg_reload_conf()');
    await stage.recovered();
    stage.note(`${stage.publisher.failures - failures} refusals; the last: ${stage.publisher.lastFailure}`);
  },
};

/** What happens to a Redis besides ending: it can't be reached at first, is rewound under foreign hands, refuses writes. */
import { until } from '../../support/net.ts';
import { startRedis } from '../../support/redis.ts';
import { ask } from '../../support/redis-groups.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { foreignBroker } from '../store-target.ts';
import type { LoneRedis } from '../stores.ts';
import { restartedEmpty } from './redis.ts';

export const firstConnectFails: Scenario = {
  name: 'redis-late',
  what: 'instances start while Redis is unreachable; later it is, and then it loses everything',
  expects: 'told',
  setting: { outageAtStart: true },
  play: (stage) => restartedEmpty.play(stage),
};

const RETENTION = { maxMessages: 1000, maxAge: 3_600_000 };
/** Of each channel, that the snapshot lacks; the foreign program writes more. */
const LOST = 2;

export const rewoundUnderForeignHands: Scenario = {
  name: 'redis-rewind-foreign',
  what: 'Redis restarts from an older snapshot; before the instances have compared their many channels, another program uses the lost offsets again, and goes on',
  expects: 'told',
  setting: ({ isShort }) => ({
    // More than are compared at once.
    users: isShort ? 300 : 1000,
    pages: 1,
    topics: [],
    interval: isShort ? 2000 : 4000,
    isDirect: true,
    client: { heartbeat: { interval: 60_000, timeout: 60_000 }, connectTimeout: 30_000 },
  }),
  async play(stage) {
    await stage.recovered();
    await stage.lone.save();
    const goals = new Map([...stage.publisher.promised].map(([stream, n]) => [stream, n + LOST]));
    await stage.until('more than the snapshot has', () =>
      [...goals].every(([stream, n]) => stage.publisher.promised.get(stream)! >= n),
    );
    await stage.until('pages that have seen it', () => stage.isLevelWith(goals));
    stage.back.refuses = true;
    stage.back.cut();
    await stage.lone.kill();
    stage.lone.rewind();
    await stage.lone.start();

    const foreign = await foreignBroker(stage.lone.at(stage.lone.port));
    const channels = [...stage.publisher.promised.keys()];
    const write = async (): Promise<void> => {
      await Promise.all(
        channels.map((channel) =>
          foreign.publish(channel, 'json', Buffer.from('{"foreign":true}'), { retention: RETENTION }),
        ),
      );
    };
    for (let i = 0; i < LOST; i++) await write();
    const gapsBefore = stage.pages.map(gapsOf);
    stage.back.refuses = false;
    // And on, while the instances compare what they know with what they find.
    const end = performance.now() + 1500;
    while (performance.now() < end) await write();
    await stage.recovered();
    await foreign.close();
    const untold = stage.pages.filter((page, i) => gapsOf(page) === gapsBefore[i]);
    stage.check(untold.length === 0, `${untold.length} of ${stage.pages.length} pages were not told`);
  },
};

function gapsOf({ seen }: Stage['pages'][number]): number {
  return [...seen.values()].flat().filter(({ kind }) => kind === 'gap').length;
}

export const readOnly: Scenario = {
  name: 'redis-readonly',
  what: 'a failover that its address learns late: the old master, now a replica, answers READONLY until the name is moved',
  expects: 'complete',
  stores: ['redis'],
  async play(stage) {
    const { server } = stage.lone as LoneRedis;
    const successor = await startRedis();
    stage.atEnd(() => successor.stop());
    await stage.more(0.2);
    await ask(successor, 'REPLICAOF', '127.0.0.1', server.port);
    // The master's word, as the successor is in sync a moment before the master knows of it.
    await until('the successor to be in sync', async () =>
      String(await ask(server, 'INFO', 'replication')).includes(`port=${successor.port},state=online`),
    );
    stage.back.arrivals.length = 0;
    await ask(server, 'FAILOVER', 'TO', '127.0.0.1', successor.port);
    await until('the successor to be the master', async () =>
      String(await ask(successor, 'ROLE')).startsWith('master'),
    );
    const stale = stage.plan.isShort ? 2000 : 5000;
    await new Promise((resolve) => setTimeout(resolve, stale));
    const tries = stage.back.arrivals.length;
    stage.note(`${tries} connections in ${stale / 1000} s in which only a replica could be reached`);
    // Three connections of each instance, which wait half a second between two tries in the end.
    const most = stage.instances.length * 3 * (5 + stale / 500);
    stage.check(tries <= most, `${tries} connections in ${stale} ms, at most ${most} were to be`);
    stage.storePort = successor.port;
    await stage.recovered();
    await stage.more(0.2);
    stage.check(
      tries > 0 || stage.publisher.failures > 0,
      'nobody noticed the failover: the scenario proves nothing',
    );
    stage.note(`last refusal: ${stage.publisher.lastFailure}`);
  },
};

export const noReplicas: Scenario = {
  name: 'redis-noreplicas',
  what: 'Redis refuses to write for want of replicas; pages come and go meanwhile, and nobody gives up',
  expects: 'complete',
  stores: ['redis'],
  async play(stage) {
    const { server } = stage.lone as LoneRedis;
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.1);
      const { failures } = stage.publisher;
      await ask(server, 'CONFIG', 'SET', 'min-replicas-to-write', 1);
      await stage.until('refused writes', () => stage.publisher.failures > failures);
      stage.front.cut();
      await stage.until('pages that are back', () => stage.connecting === 0);
      await new Promise((resolve) => setTimeout(resolve, 500));
      await ask(server, 'CONFIG', 'SET', 'min-replicas-to-write', 0);
      await stage.recovered();
    }
    stage.note(`last refusal: ${stage.publisher.lastFailure}`);
  },
};

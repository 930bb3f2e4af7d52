/** What happens to a Redis of several servers. */
import { slotOf } from '../../../src/pubsub/redis/slots.ts';
import { until } from '../../support/net.ts';
import { ask, type ClusterGroup, moveSlot } from '../../support/redis-groups.ts';
import type { Scenario } from '../scenario.ts';

export const sentinelFailover: Scenario = {
  number: 10,
  name: 'sentinel-failover',
  what: 'kill -9 of the master; the Sentinels make its replica the master',
  expects: 'either',
  stores: ['redis'],
  setting: { store: 'sentinels' },
  async play(stage) {
    await stage.more(0.3);
    await stage.sentinels.kill(await stage.sentinels.master());
    await stage.recovered();
  },
};

export const clusterMasterKilled: Scenario = {
  number: 11,
  name: 'cluster-master-kill',
  what: "kill -9 of the Cluster's master that has a user's inbox; its replica takes over",
  expects: 'either',
  stores: ['redis', 'cluster'],
  setting: { store: 'cluster' },
  async play(stage) {
    await stage.more(0.3);
    const { server } = await stage.cluster.ownerOf(slotOf('tidings:user:u1'));
    await stage.cluster.kill(server);
    await stage.recovered();
  },
};

export const slotMigrated: Scenario = {
  number: 12,
  name: 'cluster-slot-move',
  what: 'the slots of all inboxes move to another master under load',
  expects: 'complete',
  stores: ['redis', 'cluster'],
  setting: { store: 'cluster' },
  async play(stage) {
    for (const user of stage.users) {
      await stage.more(0.1);
      await move(stage.cluster, slotOf(`tidings:user:${user}`));
      await stage.recovered();
    }
  },
};

/** Gives a slot to another master. */
export async function move(cluster: ClusterGroup, slot: number): Promise<void> {
  const { server: from, id: fromId } = await cluster.ownerOf(slot);
  let to = from;
  let toId = fromId;
  for (let other = 0; to === from; other += 1000) ({ server: to, id: toId } = await cluster.ownerOf(other));
  await moveSlot(slot, { server: from, id: fromId }, { server: to, id: toId });
}

export const lossyPromotion: Scenario = {
  number: 13,
  name: 'lossy-promotion',
  what: 'the replica is cut off, the master takes more writes and dies, and the replica, which lacks them, is promoted',
  expects: 'told',
  stores: ['redis'],
  setting: { store: 'sentinels' },
  async play(stage) {
    await stage.more(0.2);
    const master = await stage.sentinels.master();
    const replica = stage.sentinels.servers.find((server) => server !== master)!;
    const away = stage.pages.filter((_, k) => k % 2 === 0);
    for (const page of away) page.close();
    await stage.more(0.05);
    // As a user that doesn't exist it can't come back to its master; the Sentinels see both as before.
    await ask(replica, 'CONFIG', 'SET', 'masteruser', 'nobody');
    await ask(replica, 'CONFIG', 'SET', 'masterauth', 'nothing');
    await ask(master, 'CLIENT', 'KILL', 'TYPE', 'replica');
    await until('the replica to be cut off', async () =>
      String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:down'),
    );
    await stage.more(0.1);
    await stage.sentinels.kill(master);
    for (const page of away) page.reopen();
    await stage.recovered();
  },
};

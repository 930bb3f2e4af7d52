/** Real groups of Redis servers on loopback: a master with replicas and Sentinels, and a Cluster. */
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { RespClient } from '../../src/redis.ts';
import { freePort, until } from './net.ts';
import { type RedisServer, startRedis } from './redis.ts';

const run = promisify(execFile);

/** One command on a connection of its own. */
export async function ask(server: { port: number }, ...args: [string, ...(string | number)[]]) {
  const client = new RespClient({ port: server.port });
  try {
    return await client.command(...args);
  } finally {
    await client.close();
  }
}

export interface SentinelGroup {
  /** The first is the master at the start. */
  servers: RedisServer[];
  sentinels: RedisServer[];
  /** For redisBroker. */
  target: { sentinels: string[]; name: string };
  /** The server that the Sentinels call the master. */
  master(): Promise<RedisServer>;
  /** Ends a server at once, which the Sentinels notice within a second. */
  kill(server: RedisServer): Promise<void>;
  stop(): Promise<void>;
}

/** A master, a replica and three Sentinels, which take nobody for dead for being slow. */
export async function startSentinels(): Promise<SentinelGroup> {
  const servers = [await startRedis(), await startRedis()];
  const [master, replica] = servers as [RedisServer, RedisServer];
  await ask(replica, 'REPLICAOF', '127.0.0.1', master.port);
  await until('the replica to be in sync', async () =>
    String(await ask(replica, 'INFO', 'replication')).includes('master_link_status:up'),
  );
  const sentinels = await Promise.all(
    [1, 2, 3].map(async () => {
      const port = await freePort();
      return startRedis((folder) => {
        const file = join(folder, 'sentinel.conf');
        writeFileSync(
          file,
          `port ${port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 ${master.port} 2\n` +
            'sentinel down-after-milliseconds mymaster 60000\nsentinel failover-timeout mymaster 3000\n',
        );
        return [file, '--sentinel'];
      }, port);
    }),
  );
  await until('the Sentinels to know each other and the replica', async () => {
    const info = await Promise.all(sentinels.map((s) => ask(s, 'INFO', 'sentinel')));
    return info.every((text) => /slaves=1,sentinels=3/.test(String(text)));
  });
  return {
    servers,
    sentinels,
    target: { sentinels: sentinels.map((s) => s.url), name: 'mymaster' },
    async master() {
      const reply = (await ask(sentinels[0]!, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'mymaster')) as string[];
      return servers.find((server) => server.port === Number(reply[1]))!;
    },
    async kill(server) {
      await server.kill();
      const setting = ['mymaster', 'down-after-milliseconds', 700] as const;
      await Promise.all(sentinels.map((sentinel) => ask(sentinel, 'SENTINEL', 'SET', ...setting)));
    },
    async stop() {
      await Promise.all([...sentinels, ...servers].map((server) => server.stop()));
    },
  };
}

export interface ClusterGroup {
  servers: RedisServer[];
  /** For redisBroker. */
  target: { cluster: string[] };
  /** The server that has a slot now, and its node id. */
  ownerOf(slot: number): Promise<{ server: RedisServer; id: string }>;
  /** Ends a master at once; its replica takes over within some two seconds. */
  kill(server: RedisServer): Promise<void>;
  stop(): Promise<void>;
}

/** Three masters with a replica each, which take nobody for dead for being slow. */
export async function startCluster(): Promise<ClusterGroup> {
  const args = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '1000',
    '--cluster-replica-validity-factor',
    '0',
  ];
  // The bus port is the port + 10,000.
  const ports = await Promise.all(Array.from({ length: 6 }, () => freePort(10_000)));
  const servers = await Promise.all(ports.map((port) => startRedis(args, port)));
  const alive = (): RedisServer[] =>
    servers.filter((s) => s.process.exitCode === null && s.process.signalCode === null);
  const addresses = ports.map((port) => `127.0.0.1:${port}`);
  await run('redis-cli', ['--cluster', 'create', ...addresses, '--cluster-replicas', '1', '--cluster-yes']);
  await until('the cluster to be whole', async () => {
    const info = await Promise.all(servers.map((s) => ask(s, 'CLUSTER', 'INFO')));
    if (!info.every((text) => /cluster_state:ok/.test(String(text)))) return false;
    const replication = await Promise.all(servers.map((s) => ask(s, 'INFO', 'replication')));
    return replication.every(
      (text) => !/role:slave/.test(String(text)) || /master_link_status:up/.test(String(text)),
    );
  });
  const setPatience = (milliseconds: number): Promise<unknown> =>
    Promise.all(alive().map((s) => ask(s, 'CONFIG', 'SET', 'cluster-node-timeout', milliseconds)));
  // Only now, as a new cluster takes its time by the same setting.
  await setPatience(60_000);
  return {
    servers,
    target: { cluster: servers.slice(0, 2).map((s) => s.url) },
    async ownerOf(slot) {
      const map = (await ask(alive()[0]!, 'CLUSTER', 'SLOTS')) as [
        number,
        number,
        [string, number, string],
      ][];
      const [, , [, port, id]] = map.find(([start, end]) => start <= slot && slot <= end)!;
      return { server: servers.find((s) => s.port === port)!, id };
    },
    async kill(server) {
      await server.kill();
      await setPatience(1000);
    },
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

interface Owner {
  server: RedisServer;
  id: string;
}

/** Moves a slot with its keys as Redis' own tools do: the keys first, then the slot. */
export async function moveSlot(
  slot: number,
  { server: from, id: fromId }: Owner,
  { server: to, id: toId }: Owner,
): Promise<void> {
  await ask(to, 'CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId);
  await ask(from, 'CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId);
  for (;;) {
    const keys = (await ask(from, 'CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[];
    if (keys.length === 0) break;
    await ask(from, 'MIGRATE', '127.0.0.1', to.port, '', 0, 60_000, 'KEYS', ...keys);
  }
  await ask(to, 'CLUSTER', 'SETSLOT', slot, 'NODE', toId);
  await ask(from, 'CLUSTER', 'SETSLOT', slot, 'NODE', toId);
}

/** Which Redis: one server, a master behind Sentinels or a Cluster, as an option or as one string. */
import { type ClusterTarget, ClusterTopology } from './redis-cluster.ts';
import { parseRedisUrl, type RedisOptions } from './redis-options.ts';
import { type SentinelTarget, SentinelWatch } from './redis-sentinel.ts';
import { SingleTopology } from './redis-single.ts';
import type { RedisTopology } from './redis-topology.ts';

/**
 * One server (`redis://…`, `rediss://…`, `redis+unix:///path`, or options), `{ sentinels: [...], name }` or
 * `{ cluster: [...] }`. The latter two also as strings, for command lines:
 * `redis+sentinel://[user:password@]host:26379,host:26379/mymaster` (user and password are the master's) and
 * `redis+cluster://[user:password@]host:6379,host:6379`, with `rediss+…` for TLS.
 */
export type RedisTarget = string | RedisOptions | SentinelTarget | ClusterTarget;

/** @throws {TypeError} if the target can't be read */
export function topologyOf(target: RedisTarget, options: RedisOptions): RedisTopology {
  if (typeof target === 'string') {
    const many = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/]*)@)?([^@/]+)(?:\/([^/?]*))?$/.exec(target);
    if (many === null) return new SingleTopology(target, options);
    const [, scheme, kind, login, hosts, name] = many;
    // The login and the scheme are read as those of any other URL.
    const { host: _, ...shared } = parseRedisUrl(`${scheme}://${login === undefined ? '' : `${login}@`}host`);
    const addresses = hosts!.split(',').map((host) => `redis://${host}`);
    const merged = { ...shared, ...options };
    return kind === 'cluster'
      ? new ClusterTopology({ cluster: addresses }, merged)
      : new SingleTopology(
          {},
          merged,
          new SentinelWatch({
            sentinels: addresses.map(withSentinelPort),
            name: decodeURIComponent(name ?? ''),
          }),
        );
  }
  if ('sentinels' in target) return new SingleTopology({}, options, new SentinelWatch(target));
  if ('cluster' in target) return new ClusterTopology(target, options);
  return new SingleTopology(target, options);
}

function withSentinelPort(url: string): RedisOptions {
  return { port: 26379, ...parseRedisUrl(url) };
}

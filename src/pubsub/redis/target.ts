/** Which Redis: one server, a master behind Sentinels or a Cluster, as an option or as one string. */
import { checkNames, type Names } from '../../option-names.ts';
import { type ClusterTarget, ClusterTopology } from './cluster.ts';
import { notAUrl, parseRedisUrl, type RedisOptions } from './options.ts';
import { type SentinelTarget, SentinelWatch } from './sentinel.ts';
import { SingleTopology } from './single.ts';
import type { RedisTopology } from './topology.ts';

/**
 * One server (`redis://…`, `rediss://…`, `redis+unix:///path`, or options), `{ sentinels: [...], name }` or
 * `{ cluster: [...] }`. The latter two also as strings, for command lines:
 * `redis+sentinel://[user:password@]host:26379,host:26379/mymaster[/database]` and
 * `redis+cluster://[user:password@]host:6379,host:6379`, with `rediss+…` for TLS. User, password, TLS and database are
 * those of the servers; Sentinels with a login or TLS of their own get it behind a question mark:
 * `?sentinelUser=…&sentinelPassword=…&sentinelTls=true`.
 */
export type RedisTarget = string | RedisOptions | SentinelTarget | ClusterTarget;

const SENTINELS: Names<SentinelTarget> = { sentinels: true, name: true };
const CLUSTER: Names<ClusterTarget> = { cluster: true };

/** @throws {TypeError} if the target can't be read */
export function topologyOf(target: RedisTarget, options: RedisOptions): RedisTopology {
  if (typeof target === 'string') {
    const many = /^(rediss?)\+(sentinel|cluster):\/\/(?:([^@/]*)@)?([^@/?#]+)([^@#]*)$/.exec(target);
    if (many === null) return new SingleTopology(target, options);
    const [, scheme, kind, login, hosts, rest] = many as unknown as [
      string,
      string,
      string,
      string?,
      ...string[],
    ];
    // The login, the scheme and the database are read as those of any other URL.
    const [, name = '', database = '', query = ''] =
      /^(?:\/([^/?]*))?(\/[^?]*)?(?:\?(.*))?$/.exec(rest!) ?? [];
    const { host: _, ...shared } = parseRedisUrl(
      `${scheme}://${login === undefined ? '' : `${login}@`}host${database}`,
    );
    const addresses = hosts!.split(',').map((host) => parseRedisUrl(`redis://${host}`));
    const merged = { ...shared, ...options };
    if (kind === 'cluster') {
      if (name + database + query !== '')
        throw notAUrl('a Cluster has no name, no databases and no settings');
      return new ClusterTopology({ cluster: addresses }, merged);
    }
    const own = ownOfSentinels(query);
    const sentinels = addresses.map((address) => ({ ...address, ...own }));
    return new SingleTopology({}, merged, new SentinelWatch({ sentinels, name: decodeURIComponent(name) }));
  }
  if (typeof target !== 'object' || target === null) {
    throw new TypeError('give the address of a Redis, such as redis://127.0.0.1:6379, or its options');
  }
  if ('sentinels' in target) {
    checkNames('Sentinels', target, SENTINELS);
    return new SingleTopology({}, options, new SentinelWatch(target));
  }
  if ('cluster' in target) {
    checkNames('a Cluster', target, CLUSTER);
    return new ClusterTopology(target, options);
  }
  return new SingleTopology(target, options);
}

function ownOfSentinels(query: string): RedisOptions {
  const own: RedisOptions = {};
  for (const [key, value] of new URLSearchParams(query)) {
    if (key === 'sentinelUser') own.username = value;
    else if (key === 'sentinelPassword') own.password = value;
    else if (key === 'sentinelTls') own.tls = value === 'true' || value === '1';
    else throw notAUrl('what follows ? is not known');
  }
  return own;
}

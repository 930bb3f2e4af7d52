/** The settings of `tidings serve` once they were looked at together: what contradicts itself is refused. */

import { BlockList } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { parseLimits } from './limits.ts';
import { flagName, type Option, type Settings, UsageError } from './options.ts';
import { parseGrants } from './policy.ts';
import { serveOptions } from './serve-options.ts';
import { tlsOf } from './tls-options.ts';

export type ServeSettings = Settings<typeof serveOptions>['values'];
type Name = keyof typeof serveOptions;

/** What means nothing without something else. */
const NEEDS: readonly (readonly [names: Name[], needed: Name[], what: string])[] = [
  [['redisPrefix', 'redisCa', 'redisCert', 'redisKey'], ['redis'], 'Redis'],
  [['postgresSchema', 'postgresListen'], ['postgres'], 'PostgreSQL'],
  [
    ['recheck', 'authTimeout', 'authGrace', 'authHeaders', 'authCa'],
    ['authUrl'],
    'an application that is asked',
  ],
  [['adminHost'], ['adminPort'], 'the port of the admin API'],
  [['adminRate', 'adminFrames'], ['adminToken'], 'who has an admin token'],
  [['http2'], ['tlsCert'], 'TLS'],
  [['showPresence'], ['presence'], 'topics of which it can be asked who is there'],
];

/** @throws {UsageError} for what would otherwise fail half-way, or be without effect */
export function checkServe({ values, sources, positionals, files }: Settings<typeof serveOptions>): void {
  if (positionals.length > 0) {
    throw new UsageError('serve takes only options: what else there is may lack its --name');
  }
  const isGiven = (name: Name): boolean => sources[name] !== 'default' && values[name] !== false;
  for (const [names, needed, what] of NEEDS) {
    const idle = names.find(isGiven);
    if (idle === undefined || needed.some(isGiven)) continue;
    throw new UsageError(
      `--${flagName(idle)} is for ${what}: give --${needed.map(flagName).join(' or --')}, too`,
    );
  }
  const { port, path, sockjs, policyPort, origins, limit, adminPort, workers, redis, postgres } = values;
  if (path === sockjs || path.startsWith(`${sockjs}/`)) {
    throw new UsageError(`--path ${path} and --sockjs ${sockjs} can't be the same place`);
  }
  if (port !== 0 && String(port) === policyPort) {
    throw new UsageError(`--port and --policy-port can't be the same, ${port}`);
  }
  if (origins.includes('*') && origins.length > 1) {
    throw new UsageError('--origins * are all: there is no use in naming others, too');
  }
  if (port !== 0 && port === adminPort)
    throw new UsageError(`--port and --admin-port can't be the same, ${port}`);
  if (adminPort !== undefined && adminPort !== 0 && String(adminPort) === policyPort) {
    throw new UsageError(`--admin-port and --policy-port can't be the same, ${adminPort}`);
  }
  if (redis !== undefined && postgres !== undefined) {
    throw new UsageError('give one of --redis and --postgres: there is one store');
  }
  if (workers !== undefined && redis === undefined && postgres === undefined) {
    throw new UsageError('--workers need a store that they share: give --redis or --postgres, too');
  }
  if (values.watch && !files.hasAny) {
    throw new UsageError('--watch has nothing to look at: the settings come from no file');
  }
  tlsOf(values);
  parseGrants(values.policyAllow);
  parseLimits(limit);
}

/** @param token of the demo, where none was given and everybody could try a known one */
export function withDemo(values: ServeSettings, token: string): ServeSettings {
  if (!values.demo) return values;
  return {
    ...values,
    queryUser: values.queryUser ?? 'operator',
    topics: values.topics.length > 0 ? values.topics : ['*'],
    // The demo's page lets anyone write to anyone, so a known token gives nothing away on loopback.
    adminToken: values.adminToken.length > 0 ? values.adminToken : [isLoopback(values.host) ? 'demo' : token],
  };
}

function isLoopback(host: string): boolean {
  const loopback = new BlockList();
  loopback.addSubnet('127.0.0.0', 8);
  loopback.addAddress('::1', 'ipv6');
  return host === 'localhost' || loopback.check(host) || loopback.check(host, 'ipv6');
}

export interface Merged {
  settings: ServeSettings;
  /** The flags that have changed: those that are taken, and those that the server would have to be started again for. */
  taken: string[];
  kept: string[];
}

/** What a server that runs by `before` makes of new settings. */
export function mergeSettings(before: ServeSettings, next: ServeSettings): Merged {
  const names = (Object.keys(serveOptions) as Name[]).filter(
    (name) => !isDeepStrictEqual(before[name], next[name]),
  );
  const isTaken = (name: Name): boolean => {
    // A port speaks TLS, or does not, from its first connection to the last.
    const isOfTls = name === 'tlsCert' || name === 'tlsKey';
    if (isOfTls && (before[name] === undefined || next[name] === undefined)) return false;
    return (serveOptions[name] as Option<unknown>).reload !== undefined;
  };
  const taken = names.filter(isTaken);
  const flag = (name: Name): string => `--${flagName(name)}`;
  return {
    settings: { ...before, ...Object.fromEntries(taken.map((name) => [name, next[name]])) },
    taken: taken.map(flag),
    kept: names.filter((name) => !isTaken(name)).map(flag),
  };
}

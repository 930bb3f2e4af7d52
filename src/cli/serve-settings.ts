/** The settings of `tidings serve` once they were looked at together: what contradicts itself is refused. */

import { parseLimits } from './limits.ts';
import { flagName, type Settings, UsageError } from './options.ts';
import { parseGrants } from './policy.ts';
import type { serveOptions } from './serve-options.ts';

export type ServeSettings = Settings<typeof serveOptions>['values'];
type Name = keyof typeof serveOptions;

/** What means nothing without something else. */
const NEEDS: readonly (readonly [names: Name[], needed: Name[], what: string])[] = [
  [['redisPrefix', 'redisCa', 'redisCert', 'redisKey'], ['redis'], 'Redis'],
  [
    ['recheck', 'authTimeout', 'authGrace', 'authHeaders', 'authCa'],
    ['authUrl'],
    'an application that is asked',
  ],
  [['adminHost'], ['adminPort'], 'the port of the admin API'],
  [['adminRate', 'adminFrames'], ['adminToken'], 'who has an admin token'],
  [['showPresence'], ['presence'], 'topics of which it can be asked who is there'],
];

/** @throws {UsageError} for what would otherwise fail half-way, or be without effect */
export function checkServe({ values, sources, positionals }: Settings<typeof serveOptions>): void {
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
  const { port, path, sockjs, policyPort, origins, limit, adminPort } = values;
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
  parseGrants(values.policyAllow);
  parseLimits(limit);
}

/** What the settings of `tidings serve` come to as options of a push server. */
import { isDeepStrictEqual } from 'node:util';
import { queryUser, type ReloadOptions } from '../index.ts';
import type { PushInterceptor } from '../push/options.ts';
import { authInterceptor, authOptions } from './auth-url.ts';
import { parseLimits } from './limits.ts';
import { expiryOptions, loginInterceptors } from './login.ts';
import { loginOptions, secretsOf } from './login-options.ts';
import { UsageError } from './options.ts';
import type { ServeSettings } from './serve-settings.ts';

/** What interceptors are made of. */
const ASKED = [
  ...Object.keys(loginOptions),
  ...Object.keys(authOptions),
  'queryUser',
] as (keyof ServeSettings)[];

/**
 * All that a running server takes anew.
 *
 * @throws {UsageError} for what makes no sense
 */
export function changeableOptions(
  settings: ServeSettings,
): ReloadOptions & { interceptors: PushInterceptor[] } {
  const { origins, proxies, topics } = settings;
  const secret = secretsOf(settings.secret, settings.secretFile);
  return {
    interceptors: asUsage(() => interceptorsOf(settings)),
    topicTickets: secret.length > 0 ? { secret } : undefined,
    origins: origins.includes('*') ? '*' : origins,
    proxies,
    ...parseLimits(settings.limit),
    topics: Object.fromEntries(settings.presence.map((topic) => [topic, { presence: true }])),
    expiry: expiryOptions(settings),
    plainCounts: settings.plainCounts,
    authorize: {
      subscribe: (_, topic) => topics.some((pattern) => matches(pattern, topic)),
      ...(settings.showPresence && { presence: () => true }),
    },
  } as ReloadOptions & { interceptors: PushInterceptor[] };
}

/** The same for a server that runs by other settings: what it asks stays where nothing of that has changed. */
export function changesOf(before: ServeSettings, settings: ServeSettings): ReloadOptions {
  const options: ReloadOptions = changeableOptions(settings);
  if (ASKED.every((name) => isDeepStrictEqual(before[name], settings[name]))) delete options.interceptors;
  return options;
}

function interceptorsOf(settings: ServeSettings): PushInterceptor[] {
  const interceptors = loginInterceptors(settings);
  const asking = authInterceptor(settings);
  if (asking !== undefined) interceptors.push(asking);
  if (settings.queryUser !== undefined) interceptors.push(queryUser(settings.queryUser));
  return interceptors;
}

/** What the push server calls a mistake of the program is one of whoever set it. */
export function asUsage<T>(make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw error instanceof TypeError || error instanceof RangeError ? new UsageError(error.message) : error;
  }
}

function matches(pattern: string, topic: string): boolean {
  return pattern.endsWith('*') ? topic.startsWith(pattern.slice(0, -1)) : topic === pattern;
}

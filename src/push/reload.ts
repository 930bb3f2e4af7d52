/** What a running push server takes anew, and what it would have to be started again for. */
import { checkNames, type Names } from '../option-names.ts';
import type { PushServerOptions } from './options.ts';

/**
 * Options of a running server. One that is there replaces what was there before, as a whole: of `limits: { message: 1000 }`,
 * all other limits have their defaults. What is left out, or undefined, stays.
 *
 * Pages that are open stay. For them, too, hold at once: `authorize` and `topicTickets` (from the next question on; what they
 * are subscribed to stays), `retention`, `expiry.leeway` (where a login begins or is renewed), `interceptors` for renewals, and
 * of `limits` all but `outbox`, `sessions…` and a `message` that becomes longer. All else holds for pages that come from then on.
 */
export type ReloadOptions = Partial<
  Pick<
    PushServerOptions,
    | 'interceptors'
    | 'authorize'
    | 'topicTickets'
    | 'origins'
    | 'proxies'
    | 'refusals'
    | 'expiry'
    | 'heartbeat'
    | 'limits'
    | 'retention'
    | 'topics'
    | 'plainCounts'
  >
>;

export const RELOADED: Names<ReloadOptions> = {
  interceptors: true,
  authorize: true,
  topicTickets: true,
  origins: true,
  proxies: true,
  refusals: true,
  expiry: true,
  heartbeat: true,
  limits: true,
  retention: true,
  topics: true,
  plainCounts: true,
};

/** @throws {TypeError} for an option that there is not, or that can't be taken anew */
export function reloadedOptions(options: PushServerOptions, changes: ReloadOptions): PushServerOptions {
  checkNames('reload', changes, RELOADED);
  const given = Object.entries(changes ?? {}).filter(([, value]) => value !== undefined);
  return { ...options, ...Object.fromEntries(given) };
}

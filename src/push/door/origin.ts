/** The origin check as an interceptor. */
import { OriginPolicy, type Origins } from '../../server/origin.ts';
import type { Interceptor } from '../../server/transport.ts';
import { refusal } from './refusals.ts';

/** Refuses with 403 a page that is neither of its own Host nor in the list. */
export function originCheck(allowed: Origins = []): Interceptor {
  return originCheckBy({ origins: new OriginPolicy(allowed) });
}

/** The same, by the policy that there is at the time. */
export function originCheckBy(rules: { readonly origins: OriginPolicy }): Interceptor {
  return {
    before(request) {
      if (rules.origins.allows(request)) return undefined;
      const page = printable(String(request.headers.origin));
      return refusal(403, `pages of ${page} may not connect here`, {}, 'origin');
    },
  };
}

function printable(origin: string): string {
  return origin.slice(0, 200).replace(/[^\u0020-\u007e]/g, '?');
}

/**
 * Who gets in: the push server's own interceptors around those of the application. Whoever passes has a
 * fit user name, and the user's channel is subscribed before the handshake is answered, so that what is
 * sent after it reaches even a page in plain mode.
 */
import { attempt } from '../../server/handler-calls.ts';
import { requestTarget } from '../../server/request-target.ts';
import type { Attributes, HandshakeRequest, Interceptor } from '../../server/transport.ts';
import { inTime, isIn } from '../../waiting.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import { explain, explainFully } from '../explain.ts';
import type { Limits, Log } from '../options.ts';
import { ClaimsError } from '../pages/claims.ts';
import type { Logins } from '../pages/logins.ts';
import type { SessionRegistry } from '../pages/registry.ts';
import { inboxOf } from '../talk/names.ts';
import { CloseCode, SUBPROTOCOL } from '../talk/wire.ts';
import { arrived } from './arrival.ts';
import type { Barrier } from './barrier.ts';
import { type HandshakeCounts, tellRefused } from './handshake-counts.ts';
import { originCheckBy } from './origin.ts';
import { refusal, refusalReason, tryAgain } from './refusals.ts';
import { clientAddress, offeredProtocols, type Proxies } from './request.ts';
import type { Rules } from './rules.ts';

/** Handshakes that wait for their turn. More are refused. */
const MAX_WAITING = 50_000;

export interface AdmissionParts {
  registry: SessionRegistry;
  router: ChannelRouter;
  proxies: Proxies;
  rules: Pick<Rules, 'origins' | 'interceptors' | 'authorize'>;
  barrier: Barrier;
  log: Log;
  logins: Logins;
  limits: Pick<Limits, 'handshakes' | 'answer'>;
  counts: HandshakeCounts;
  /** Seconds after which a client may try again, while the server is going. */
  drainingFor(): number | undefined;
}

export function admission(parts: AdmissionParts): Interceptor[] {
  const { rules, log } = parts;
  return [gate(parts), versionCheck, originCheckBy(rules), applications(rules, log), authenticated(parts)];
}

/**
 * A place first: what is refused here costs nothing else. Then a turn: when thousands come at once, because another
 * instance has gone, so many are asked about at a time, and the others wait.
 */
function gate({ registry, proxies, barrier, limits, counts, drainingFor, log }: AdmissionParts): Interceptor {
  /** Those that have a place, with their addresses, until they are told how it ended. */
  const addresses = new Map<HandshakeRequest, string>();
  const underWay = new Set<HandshakeRequest>();
  const waiting = new Map<HandshakeRequest, (answer: Response | undefined) => void>();
  counts.pending = addresses;
  counts.waiting = waiting;
  const going = (): Response | undefined => {
    const seconds = drainingFor();
    if (seconds === undefined) return undefined;
    return refusal(503, 'this instance is going', { 'Retry-After': String(seconds) }, 'draining');
  };
  return {
    before(request, attributes) {
      barrier.begins(attributes);
      const answer = going();
      if (answer !== undefined) return answer;
      const address = clientAddress(request, proxies);
      arrived(request, { address, log });
      const full = waiting.size >= MAX_WAITING ? 'instance' : registry.reserve(address);
      if (full === 'instance') {
        const message = 'this instance has as many sessions as it may have';
        return refusal(503, message, { 'Retry-After': '10' }, 'full');
      }
      if (full === 'address') {
        return refusal(429, 'too many sessions from this address', { 'Retry-After': '10' });
      }
      addresses.set(request, address);
      if (limits.handshakes > 0 && underWay.size >= limits.handshakes) {
        return new Promise((resolve) => waiting.set(request, resolve));
      }
      underWay.add(request);
      return undefined;
    },
    after(request, _transport, error) {
      const reason = error && refusalReason(request, error);
      if (reason !== undefined) {
        counts.refused[reason]++;
        tellRefused(log, reason, clientAddress(request, proxies));
      }
      const address = addresses.get(request);
      addresses.delete(request);
      // Who has come in keeps the place until the connection ends.
      if (address !== undefined && error !== undefined) registry.free(address);
      waiting.delete(request);
      if (!underWay.delete(request)) return;
      for (const [next, proceed] of waiting) {
        waiting.delete(next);
        const answer = going();
        proceed(answer);
        if (answer !== undefined) continue;
        underWay.add(next);
        return;
      }
    },
  };
}

/**
 * A page of a newer version that has no words in common with this server must not be served in plain mode as if it had asked
 * for nothing: it comes again, perhaps to an instance that is newer, too.
 */
const versionCheck: Interceptor = {
  before(request) {
    const inHeader = offeredProtocols(request);
    // SockJS has no subprotocols.
    const [, inQuery = ''] = /(?:^|&)protocol=([^&]*)/.exec(requestTarget(request).query) ?? [];
    const offered = inHeader.length > 0 ? inHeader : [inQuery];
    const newer = offered.find((name) => /^tidings\.\d+$/.test(name));
    if (newer === undefined || offered.includes(SUBPROTOCOL)) return undefined;
    return tryAgain(`this instance speaks ${SUBPROTOCOL}, and not ${newer}`, 1);
  },
};

/**
 * The application's interceptors. There may be others from now on: who is on the way in is told how it ended by those
 * that he was shown to.
 */
function applications(rules: Pick<Rules, 'interceptors'>, log: Log): Interceptor {
  const asked = new WeakMap<HandshakeRequest, Interceptor[]>();
  return {
    async before(request, attributes) {
      const shown: Interceptor[] = [];
      asked.set(request, shown);
      for (const interceptor of rules.interceptors) {
        const own = guarded(interceptor, log);
        // Nobody waits for an answer any more.
        if (asked.get(request) !== shown) return undefined;
        shown.push(own);
        const answer = await own.before!(request, attributes);
        if (answer !== undefined) return answer;
      }
      return undefined;
    },
    after(request, transport, error) {
      for (const own of asked.get(request)?.reverse() ?? []) own.after!(request, transport, error);
      asked.delete(request);
    },
  };
}

/**
 * The application's interceptor. What it throws where nobody waits for an answer, in `after`, ends nothing; what refuses
 * a handshake by mistake is logged.
 */
function guarded(interceptor: Interceptor, log: Log): Interceptor {
  const failed = (what: string, error: unknown): void =>
    log('error', `an interceptor's \`${what}\` failed: ${explainFully(error)}`, {
      event: 'interceptor-failed',
      reason: what,
      error: explain(error),
    });
  return {
    async before(request, attributes) {
      try {
        return await interceptor.before?.(request, attributes);
      } catch (error) {
        failed('before', error);
        throw new Error('an interceptor failed');
      }
    },
    after(request, transport, error) {
      attempt(
        () => interceptor.after?.(request, transport, error),
        (thrown) => failed('after', thrown),
      );
    },
  };
}

/** From here on `attributes` holds what can be, or the handshake is refused. */
function checked(attributes: Attributes, logins: Logins, log: Log): Response | undefined {
  try {
    const claims = logins.claims(attributes);
    if (claims === undefined) return refusal(401, 'no authenticated user');
    if (logins.isOver(claims.expires)) return refusal(401, 'the login has ended', {}, 'expired');
    // What was not said takes no room in a session.
    for (const [name, claim] of Object.entries(claims)) if (claim !== undefined) attributes[name] = claim;
    return undefined;
  } catch (error) {
    if (error instanceof ClaimsError && error.isUser) return refusal(400, error.message);
    log('error', `what interceptors say of a session can't be: ${explainFully(error)}`, {
      event: 'claims-unfit',
      error: explain(error),
    });
    return refusal(500, 'who this is was not said properly');
  }
}

/** What the application says last of all. It may throw, now or later, or never answer. */
async function permitted(
  { rules, limits, log }: AdmissionParts,
  attributes: Attributes,
  request: HandshakeRequest,
): Promise<Response | undefined> {
  const { authorize } = rules;
  if (authorize.connect === undefined) return undefined;
  try {
    const answer = await inTime(
      limits.answer,
      new Promise((resolve) => resolve(authorize.connect?.(attributes, request))),
    );
    return answer === true ? undefined : refusal(403, 'the application does not let this user in');
  } catch (error) {
    log('error', `authorize.connect failed, so somebody was not let in: ${explainFully(error)}`, {
      event: 'authorize-failed',
      reason: 'connect',
      error: explain(error),
    });
    const message = 'the application could not say who may come in';
    return refusal(503, message, { 'Retry-After': '10' }, 'failed');
  }
}

function authenticated(parts: AdmissionParts): Interceptor {
  const { router, logins, log, barrier } = parts;
  const objection = (attributes: Attributes): Response | undefined => {
    const ending = barrier.objection(attributes);
    if (ending === undefined) return undefined;
    const { code, reason, isBlock } = ending;
    if (code < CloseCode.MALFORMED) return refusal(503, reason, { 'Retry-After': '1' }, 'ended');
    const status = code === CloseCode.FORBIDDEN ? 403 : 401;
    return refusal(status, reason, {}, isBlock === true ? 'blocked' : 'ended');
  };
  return {
    async before(request, attributes) {
      const answer =
        checked(attributes, logins, log) ??
        objection(attributes) ??
        (await permitted(parts, attributes, request));
      if (answer !== undefined) return answer;
      const channel = router.acquire(inboxOf(attributes.user!));
      try {
        // While the store is known to be away, or doesn't answer others, waiting would only keep them out.
        if (!channel.isLive && !(await isIn(channel.ready(), router.patience())))
          router.waitedInVain(channel);
      } catch {
        // Its inbox can't be used, which the session is told, as a page sees no status.
      } finally {
        // It lingers until the session takes it.
        router.release(channel);
      }
      // That may have taken a while.
      return objection(attributes);
    },
  };
}

/**
 * Who gets in: the push server's own interceptors around those of the application. Whoever passes has a
 * fit user name, and the user's channel is subscribed before the handshake is answered, so that what is
 * sent after it reaches even a page in plain mode.
 */
import type { BlockList } from 'node:net';
import type { Origins } from '../../server/origin.ts';
import type { HandshakeRequest, Interceptor } from '../../server/transport.ts';
import { isIn } from '../../waiting.ts';
import type { ChannelRouter } from '../delivery/router.ts';
import type { SessionRegistry } from '../pages/registry.ts';
import { inboxOf, userProblem } from '../talk/names.ts';
import { refusal } from './interceptors.ts';
import { originCheck } from './origin.ts';
import { clientAddress } from './request.ts';

/** Longest that a handshake waits for the store, in milliseconds. */
const STORE_PATIENCE = 2_000;
/** Handshakes that wait for their turn. More are refused. */
const MAX_WAITING = 50_000;

export interface AdmissionParts {
  registry: SessionRegistry;
  router: ChannelRouter;
  proxies: BlockList;
  origins: Origins;
  interceptors: Interceptor[];
  /** Handshakes at once; 0: any number. */
  handshakes: number;
  /** Seconds after which a client may try again, while the server is going. */
  drainingFor(): number | undefined;
}

export function admission(parts: AdmissionParts): Interceptor[] {
  return [gate(parts), originCheck(parts.origins), ...parts.interceptors, authenticated(parts.router)];
}

/**
 * Room first: what is refused here costs nothing else. Then a turn: when thousands come at once, because
 * another instance has gone, so many are asked about at a time, and the others wait.
 */
function gate({ registry, proxies, handshakes, drainingFor }: AdmissionParts): Interceptor {
  const underWay = new Set<HandshakeRequest>();
  const waiting = new Map<HandshakeRequest, (answer: Response | undefined) => void>();
  const going = (): Response | undefined => {
    const seconds = drainingFor();
    if (seconds === undefined) return undefined;
    return refusal(503, 'this instance is going', { 'Retry-After': String(seconds) });
  };
  return {
    before(request) {
      const answer = going();
      if (answer !== undefined) return answer;
      if (registry.isFull() || waiting.size >= MAX_WAITING) {
        return refusal(503, 'this instance has as many sessions as it may have', { 'Retry-After': '10' });
      }
      if (registry.isAddressFull(clientAddress(request, proxies))) {
        return refusal(429, 'too many sessions from this address', { 'Retry-After': '10' });
      }
      if (handshakes > 0 && underWay.size >= handshakes) {
        return new Promise((resolve) => waiting.set(request, resolve));
      }
      underWay.add(request);
      return undefined;
    },
    after(request) {
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

function authenticated(router: ChannelRouter): Interceptor {
  return {
    async before(_request, attributes) {
      const { user } = attributes;
      if (user === undefined) return refusal(401, 'no authenticated user');
      const problem = userProblem(user);
      if (problem !== undefined) return refusal(400, problem);
      const channel = router.acquire(inboxOf(user));
      try {
        if (!channel.isLive) await isIn(channel.ready(), STORE_PATIENCE);
      } finally {
        // It lingers until the session takes it.
        router.release(channel);
      }
      return undefined;
    },
  };
}

/**
 * Who gets in: the push server's own interceptors around those of the application. Whoever passes has a
 * fit user name, and the user's channel is subscribed before the handshake is answered, so that what is
 * sent after it reaches even a page in plain mode.
 */
import type { BlockList } from 'node:net';
import type { Origins } from '../server/origin.ts';
import type { HandshakeRequest, Interceptor } from '../server/transport.ts';
import type { ChannelRouter } from './channel-router.ts';
import { refusal } from './interceptors.ts';
import { inboxOf, userProblem } from './names.ts';
import { originCheck } from './origin.ts';
import { clientAddress } from './request.ts';
import type { SessionRegistry } from './session-registry.ts';

/** Longest that a handshake waits for the store, in milliseconds. */
const STORE_PATIENCE = 2_000;

export interface AdmissionParts {
  registry: SessionRegistry;
  router: ChannelRouter;
  proxies: BlockList;
  origins: Origins;
  interceptors: Interceptor[];
  /** Seconds after which a client may try again, while the server is going. */
  drainingFor(): number | undefined;
}

export function admission(parts: AdmissionParts): Interceptor[] {
  return [gate(parts), originCheck(parts.origins), ...parts.interceptors, authenticated(parts.router)];
}

/** Room first: what is refused here costs nothing else. */
function gate({ registry, proxies, drainingFor }: AdmissionParts): Interceptor {
  return {
    before(request: HandshakeRequest) {
      const seconds = drainingFor();
      if (seconds !== undefined) {
        return refusal(503, 'this instance is going', { 'Retry-After': String(seconds) });
      }
      if (registry.isFull()) {
        return refusal(503, 'this instance has as many sessions as it may have', { 'Retry-After': '10' });
      }
      if (registry.isAddressFull(clientAddress(request, proxies))) {
        return refusal(429, 'too many sessions from this address', { 'Retry-After': '10' });
      }
      return undefined;
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
        if (!channel.isLive) await atMost(channel.ready(), STORE_PATIENCE);
      } finally {
        // It lingers until the session takes it.
        router.release(channel);
      }
      return undefined;
    },
  };
}

async function atMost(promise: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise, timeout]);
  clearTimeout(timer);
}

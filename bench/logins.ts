/** What it costs that a session has an end: bytes that stay on the heap for each, and timers. Counted, as in the gate. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Logins } from '../src/push/pages/logins.ts';
import { Session } from '../src/push/pages/session.ts';
import { FrameQueue } from '../src/push/talk/frame-queue.ts';
import type { Attributes, Transport } from '../src/server/transport.ts';
import { median } from './statistics.ts';

/** Bytes for a session with an end beyond those for one without. */
export const LOGIN_LIMIT = 100;

export interface LoginCost {
  /** Bytes for each session. */
  bytes: number;
  /** Timers of all of them. */
  timers: number;
}

export function countLogins(sessions = 50_000): LoginCost {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  const before = timers();
  let during = before;
  const samples = Array.from({ length: 4 }, () => {
    const without = heapOf(sessions, false, collect);
    const withEnd = heapOf(sessions, true, collect);
    during = Math.max(during, withEnd.timers);
    return (withEnd.bytes - without.bytes) / sessions;
  });
  // The first one is of code that is being compiled.
  return { bytes: median(samples.slice(1)), timers: during - before };

  function heapOf(count: number, hasEnd: boolean, collect: () => void): { bytes: number; timers: number } {
    const logins = new Logins(
      { leeway: 5_000, plain: 'close' },
      { subscriptions: 100 },
      () => {},
      () => {},
    );
    const kept: Session[] = [];
    collect();
    const { heapUsed } = process.memoryUsage();
    for (let n = 0; n < count; n++) kept.push(sessionOf(n, hasEnd, logins));
    collect();
    const bytes = process.memoryUsage().heapUsed - heapUsed;
    const inUse = timers();
    if (kept.length !== count || logins.size !== (hasEnd ? count : 0)) throw new Error('not all are there');
    for (const session of kept) logins.forget(session);
    return { bytes, timers: inUse };
  }
}

/** Over eight hours, as a day's users come: each at another moment. */
function sessionOf(n: number, hasEnd: boolean, logins: Logins): Session {
  // As the acceptor and the interceptors make them.
  const attributes: Attributes = {};
  attributes.user = 'alice';
  if (hasEnd) attributes.expires = Date.now() + 60_000 + ((n * 7_919) % 28_800_000);
  const transport = {
    protocol: 'tidings.1',
    readyState: 1,
    bufferedAmount: 0,
    attributes,
  } as unknown as Transport;
  const host = {} as ConstructorParameters<typeof Session>[7];
  const session = new Session(`s${n}`, 'alice', '', transport, 1e6, new FrameQueue(1, 1), logins, host);
  logins.watch(session);
  return session;
}

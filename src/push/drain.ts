/** Sends an instance's sessions away without a stampede: told first, closed in batches, cut at the end. */
import type { Session } from './session.ts';
import { CloseCode } from './wire.ts';

const BATCH_INTERVAL = 50;
/** The part of the time in which clients are to go by themselves; the rest is for those who don't. */
const OWN_ACCORD = 0.6;
const CLOSING_PART = 0.2;
/** What closing handshakes get where no time was given, in milliseconds. */
const LAST_CALL = 500;
const SERVICE_RESTART = 1012;

/**
 * Resolves when no session is left, at the latest after `milliseconds` (or half a second, if that is less).
 *
 * @param sessions those that are still there, whenever it is iterated
 */
export async function drainSessions(
  sessions: Iterable<Session> & { readonly size: number },
  milliseconds: number,
): Promise<void> {
  const start = performance.now();
  const window = Math.floor(milliseconds * OWN_ACCORD);
  const closedBy = start + window + milliseconds * CLOSING_PART;
  const end = start + Math.max(milliseconds, LAST_CALL);
  if (window > 0) {
    for (const session of sessions) if (session.isTidings) session.sendFrame({ type: 'drain', window });
  }
  // Pages in plain mode can't be asked to go, so they are closed over the whole window.
  const plain = [...sessions].filter((session) => !session.isTidings);
  await closeInBatches(plain, start + window);
  while (sessions.size > 0 && performance.now() < start + window) await tick();
  await closeInBatches([...sessions], closedBy);
  while (sessions.size > 0 && performance.now() < end) await tick();
  for (const session of sessions) session.terminate();
  const gone = performance.now() + LAST_CALL;
  while (sessions.size > 0 && performance.now() < gone) await tick();
}

async function closeInBatches(sessions: Session[], deadline: number): Promise<void> {
  let next = 0;
  while (next < sessions.length) {
    const batches = Math.max(1, Math.ceil((deadline - performance.now()) / BATCH_INTERVAL));
    const end = next + Math.ceil((sessions.length - next) / batches);
    for (; next < end; next++) {
      const session = sessions[next]!;
      session.close(session.isTidings ? CloseCode.DRAIN : SERVICE_RESTART, 'this instance is going');
    }
    if (next < sessions.length) await tick();
  }
}

function tick(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, BATCH_INTERVAL));
}

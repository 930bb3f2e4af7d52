/** Ports and waiting, for tests with real sockets. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * A loopback port for programs that can't take port 0. It lies below what systems choose for port 0 and for outgoing
 * connections, as one of those could take it before its program does, or while that is restarted. No other call
 * returns it, in whatever process, as long as this one lives.
 *
 * @param companion must be free as well, at this distance
 */
export async function freePort(companion = 0): Promise<number> {
  for (;;) {
    const port = 11_000 + Math.floor(Math.random() * 10_000);
    // UDP's ports are a namespace that nobody here needs, and the system clears it up.
    const reservation = createSocket('udp4').bind({ port, address: '127.0.0.1', exclusive: true });
    try {
      await once(reservation, 'listening');
    } catch {
      reservation.close();
      continue;
    }
    reservation.unref();
    if ((await isFree(port)) && (await isFree(port + companion))) return port;
    reservation.close();
  }
}

/** Whether a loopback port could be listened on a moment ago. */
async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
  } catch {
    return false;
  }
  server.close();
  await once(server, 'close');
  return true;
}

// Taken here: a test may have replaced the global ones when it waits.
const { setTimeout } = globalThis;
const now = performance.now.bind(performance);

/** What is waited for just now: a test that takes too long says so (scripts/testing/events.mjs). */
const waits = new Set<{ what: string; since: number }>();
(globalThis as Record<symbol, unknown>)[Symbol.for('tidings.waits')] = waits;

/**
 * Resolves with the first truthy result of `condition`; rejects, naming `what`, after `timeout` ms. Only what never
 * comes takes that long, and machines are slow, so it is generous.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  timeout = 60_000,
): Promise<Exclude<T, false | null | undefined | 0 | ''>> {
  const wait = { what, since: now() };
  waits.add(wait);
  try {
    for (;;) {
      const result = await condition();
      if (result) return result as Exclude<T, false | null | undefined | 0 | ''>;
      if (now() > wait.since + timeout) throw new Error(`waited ${timeout} ms in vain for: ${what}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  } finally {
    waits.delete(wait);
  }
}

/** A reader that never reads costs an instance next to nothing. */
import { once } from 'node:events';
import { WebSocket } from '../../../src/ws.ts';
import type { Scenario } from '../scenario.ts';

const MEGABYTE = 1024 * 1024;
const LIMIT = 12 * MEGABYTE;

interface Memory {
  rss: number;
  heapUsed: number;
  external: number;
  sessions: number;
}

export const stalledReader: Scenario = {
  name: 'stalled-reader',
  // Not with a store that keeps its logs in the instance itself.
  stores: ['redis', 'postgres', 'cluster'],
  what: '200 MB are sent to a user whose only page never reads',
  expects: 'complete',
  happensTo: 'pages',
  setting: {
    instances: 1,
    sender: 'own',
    users: 1,
    interval: 50,
    options: { retention: { inbox: { maxMessages: 100 } }, heartbeat: { ping: 0 }, limits: { stall: 2000 } },
  },
  async play(stage) {
    const [instance] = stage.instances as [(typeof stage.instances)[number]];
    const memory = (): Promise<Memory> => instance.ask('/memory');
    const grownSince = ({ heapUsed, external }: Memory, now: Memory): number =>
      now.heapUsed + now.external - heapUsed - external;
    const page = new WebSocket(`ws://127.0.0.1:${instance.port}/socketServer?user=stalled`, ['tidings.1']);
    // Closed by the server, which is what is to happen.
    page.on('error', () => {});
    await once(page, 'open');
    page.send(JSON.stringify({ type: 'hello' }));
    await once(page, 'message');
    const send = (n: number): Promise<unknown> =>
      stage.send('user:stalled', { n, padding: 'x'.repeat(MEGABYTE - 1000) }, `stalled-${n}`);
    // What a first message brings along in buffers and compiled code is not the reader's.
    for (let n = 0; n < 3; n++) await send(n);
    page.pause();
    const before = await memory();
    let highest = 0;
    let closedAfter: number | undefined;
    const count = 200;
    for (let n = 1; n <= count; n++) {
      await send(n + 10);
      if (n % 10 !== 0 && closedAfter !== undefined) continue;
      let now = await memory();
      // A message on its way through is no growth: what is kept is still there a moment later.
      const isTooMuch = (): boolean => grownSince(before, now) >= LIMIT;
      for (
        let tries = 0;
        isTooMuch() ? tries < 500 : tries < 5 && grownSince(before, now) > highest;
        tries++
      ) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        const later = await memory();
        if (grownSince(before, later) < grownSince(before, now)) now = later;
      }
      highest = Math.max(highest, grownSince(before, now));
      if (now.sessions < before.sessions) closedAfter ??= n;
    }
    // Where the instance is slower than its sender, the end comes later.
    if (closedAfter === undefined) {
      await stage.until(
        'the stalled reader to be closed',
        async () => (await memory()).sessions < before.sessions,
      );
      closedAfter = count;
    }
    const after = await memory();
    const megabytes = (bytes: number): string => `${(bytes / MEGABYTE).toFixed(1)} MB`;
    const kept = grownSince(before, after);
    stage.note(
      `${count} MB sent; closed after ${closedAfter} of them; heap and buffers grew by at most ` +
        `${megabytes(highest)}, and by ${megabytes(kept)} in the end; resident set by ${megabytes(after.rss - before.rss)}`,
    );
    stage.check(highest < LIMIT, `a stalled reader made the instance grow by ${megabytes(highest)}`);
    page.terminate();
  },
};

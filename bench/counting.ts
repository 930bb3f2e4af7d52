/**
 * `node --import ./scripts/typescript.mjs bench/counting.ts`: nanoseconds of processor time that counting takes, by itself. In
 * a server they are too few to be seen between two runs. And milliseconds that it takes to collect the metrics, with real
 * sessions.
 */
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PushServer, queryUser } from '../src/index.ts';
import { DeliveryCounts } from '../src/push/delivery/delivery-counts.ts';
import { Traffic } from '../src/server/traffic.ts';
import { WebSocket } from '../src/ws.ts';
import { median } from './statistics.ts';

const TIMES = 5_000_000;
const ROUNDS = 9;
const SESSIONS = 2_000;

/** The least of some rounds, as what else runs here only adds to it. */
function nanoseconds(count: (i: number) => void): string {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round <= ROUNDS; round++) {
    const before = process.cpuUsage();
    for (let i = 0; i < TIMES; i++) count(i);
    const { user, system } = process.cpuUsage(before);
    // The first one compiles.
    if (round > 0) best = Math.min(best, ((user + system) * 1000) / TIMES);
  }
  return best.toFixed(1);
}

const counts = new DeliveryCounts();
const traffic = new Traffic();
const stored = Date.now();
let sum = 0;
const rows: [what: string, count: (i: number) => void][] = [
  [
    'nothing',
    (i) => {
      sum += i;
    },
  ],
  [
    'the clock, once a turn',
    () => {
      sum += Date.now();
    },
  ],
  ['a message written', (i) => counts.wroteLive(stored, stored + (i & 3), 1)],
  ['an acknowledgement', (i) => counts.acknowledges(stored, stored + 200 + (i & 3))],
  [
    'a frame in and a frame out',
    (i) => {
      traffic.framesIn++;
      traffic.bytesIn += i & 255;
      traffic.framesOut++;
      traffic.bytesOut += i & 255;
    },
  ],
];
for (const [what, count] of rows) console.log(`${what}: ${nanoseconds(count)} ns`);
if (sum === 0 || counts.live === 0 || traffic.framesIn === 0) process.exitCode = 1;

const push = new PushServer({
  port: 0,
  host: '127.0.0.1',
  interceptors: [queryUser('user')],
  limits: { sessionsPerUser: SESSIONS },
  log: () => {},
});
await push.ready;
const milliseconds = (): number =>
  median(
    Array.from({ length: 200 }, () => {
      const before = performance.now();
      push.metrics();
      return performance.now() - before;
    }),
  );
milliseconds();
const without = milliseconds();
const { port } = push.address() as AddressInfo;
const pages: WebSocket[] = [];
while (pages.length < SESSIONS) {
  const page = new WebSocket(`ws://127.0.0.1:${port}/socketServer?user=alice`);
  await once(page, 'open');
  pages.push(page);
}
const each = (milliseconds() - without) / SESSIONS;
console.log(`the metrics without a session: ${without.toFixed(2)} ms`);
console.log(`and for each 100,000 sessions: ${(each * 100_000).toFixed(1)} ms more`);
for (const page of pages) page.terminate();
await push.close({ drain: 0 });

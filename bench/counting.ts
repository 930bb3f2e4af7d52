/**
 * `node --import ./scripts/typescript.mjs bench/counting.ts`: nanoseconds of processor time that counting takes, by itself. In
 * a server they are too few to be seen between two runs.
 */
import { DeliveryCounts } from '../src/push/delivery/delivery-counts.ts';
import { Traffic } from '../src/server/traffic.ts';

const TIMES = 5_000_000;
const ROUNDS = 9;

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

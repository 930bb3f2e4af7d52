/** What happens to the instances. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { OWN_ACCORD } from '../../../src/push/pages/drain.ts';
import type { Instance } from '../instances.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';
import { histogram } from './histogram.ts';

export const instanceKilled: Scenario = {
  number: 3,
  name: 'instance-kill',
  stores: ['redis', 'postgres', 'cluster'],
  what: 'kill -9 of an instance that pages are connected to and the publisher sends through',
  expects: 'complete',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 4); i++) {
      await stage.more(0.15);
      const instance = stage.instances[i % stage.instances.length]!;
      await instance.kill();
      await stage.recovered();
      await instance.start();
    }
  },
};

export const instanceTerminated: Scenario = {
  number: 4,
  name: 'instance-sigterm',
  what: 'SIGTERM to an instance: it drains and ends with status 0',
  expects: 'complete',
  happensTo: 'instances',
  async play(stage) {
    for (let i = 0; i < (stage.plan.isShort ? 1 : 3); i++) {
      await stage.more(0.15);
      const instance = stage.instances[i % stage.instances.length]!;
      const [status] = await Promise.all([instance.terminate(), stage.recovered()]);
      stage.check(status === 0, `SIGTERM ended an instance with ${status}`);
      await instance.start();
    }
  },
};

const rollingDrain = (isShort: boolean): number => (isShort ? 3000 : 5000);

export const rollingRestart: Scenario = {
  number: 5,
  name: 'rolling-restart',
  what: 'a deploy: each of three instances ends by SIGTERM and is started again, one after the other',
  expects: 'complete',
  happensTo: 'instances',
  setting: ({ isShort }) => ({
    instances: 3,
    users: isShort ? 3 : 10,
    pages: isShort ? 30 : 20,
    interval: 40,
    drain: rollingDrain(isShort),
  }),
  async play(stage) {
    stage.arrivals.length = 0;
    const start = performance.now();
    for (const [i, instance] of stage.instances.entries()) {
      await stage.more(0.05);
      let told = Number.POSITIVE_INFINITY;
      let lastTold = 0;
      stage.front.watch = (chunk) => {
        if (!chunk.includes('{"type":"drain"')) return;
        lastTold = performance.now();
        told = Math.min(told, lastTold);
      };
      const held = monitorEventLoopDelay({ resolution: 10 });
      held.enable();
      const status = await instance.terminate();
      held.disable();
      stage.check(status === 0, `SIGTERM ended an instance with ${status}`);
      // What comes while it is going is what leaves it.
      const arrivals = stage.arrivals.filter((time) => time >= told).map((time) => time - told);
      const window = rollingDrain(stage.plan.isShort) * OWN_ACCORD;
      // By so much a slow machine can move each of them: it is told late, it leaves late, and comes late.
      const lag = lastTold - told + (2 * held.max) / 1e6;
      // Bounded, as the check must be able to fail: who all come at once are further off than that.
      const late = Math.min(lag, window / 4);
      checkSpread(stage, `arrivals while instance ${i + 1} drained`, arrivals, window, late);
      await instance.start();
    }
    await stage.recovered();
    stage.note(`connections made, by ${stage.plan.isShort ? 250 : 500} ms:`);
    const times = stage.arrivals.map((time) => time - start);
    stage.notes.push(...histogram(times, stage.plan.isShort ? 250 : 500));
  },
};

/** Handshakes that an instance of the herd takes at a time. */
const herdHandshakes = (isShort: boolean): number => (isShort ? 5 : 100);
const HERD_JITTER = 2000;

export const herd: Scenario = {
  name: 'herd',
  what: 'half of many pages lose their instance at once; the other instance takes them all, so many at a time',
  expects: 'complete',
  happensTo: 'instances',
  setting: ({ isShort }) => ({
    users: isShort ? 20 : 100,
    pages: isShort ? 10 : 100,
    topics: [],
    interval: isShort ? 100 : 3000,
    isDirect: true,
    handshakeTime: isShort ? 60 : 20,
    options: { limits: { sessionsPerUser: 1000, handshakes: herdHandshakes(isShort) } },
    client: {
      reconnect: { min: HERD_JITTER, max: 20_000 },
      connectTimeout: 30_000,
      heartbeat: { interval: 30_000, timeout: 30_000 },
    },
  }),
  async play(stage) {
    await stage.more(0.1);
    stage.arrivals.length = 0;
    const before = stage.pages.map((page) => page.waits.length);
    const [lost, other] = stage.instances as [Instance, Instance];
    await other.ask('/handshakes');
    const start = performance.now();
    await lost.kill();
    await stage.recovered();
    const waits = stage.pages.flatMap((page, i) => page.waits.slice(before[i], before[i]! + 1));
    checkSpread(stage, 'waits chosen by pages that had to come back', waits, HERD_JITTER);
    const { peak } = await other.ask<{ peak: number }>('/handshakes');
    const limit = herdHandshakes(stage.plan.isShort);
    stage.note(`handshakes at once at the other instance: ${peak} at the most, ${limit} permitted`);
    stage.check(peak > 1, 'handshakes came one by one: that they are bounded is not shown');
    stage.check(peak <= limit, `${peak} handshakes at once, where ${limit} are permitted`);
    stage.note('connections made, by 250 ms:');
    stage.notes.push(
      ...histogram(
        stage.arrivals.map((time) => time - start),
        250,
      ),
    );
  },
};

/** They must be spread evenly over [0, span), as far as chance allows, where each may be `late` by so much. */
function checkSpread(stage: Stage, what: string, values: number[], span: number, late = 0): void {
  stage.check(values.length > 0, `no ${what}: the scenario proves nothing`);
  const distance = distanceFromUniform(values, span);
  // Exceeded once in 100,000 runs (Kolmogorov-Smirnov).
  const limit = 2.47 / Math.sqrt(values.length) + late / span;
  const figures = `distance from an even spread ${distance.toFixed(3)}, at most ${limit.toFixed(3)}`;
  stage.note(`${values.length} ${what}: ${figures}`);
  stage.check(distance <= limit, `${what} are not spread evenly: ${figures}`);
}

/** The largest distance between the distribution of `values` and the even one over [0, span). */
function distanceFromUniform(values: number[], span: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  let largest = 0;
  for (const [i, value] of sorted.entries()) {
    const at = Math.min(1, value / span);
    largest = Math.max(largest, Math.abs(at - i / sorted.length), Math.abs((i + 1) / sorted.length - at));
  }
  return largest;
}

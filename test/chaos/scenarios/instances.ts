/** What happens to the instances. */
import type { Scenario } from '../scenario.ts';
import { histogram } from './histogram.ts';

export const instanceKilled: Scenario = {
  number: 3,
  name: 'instance-kill',
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

export const rollingRestart: Scenario = {
  number: 5,
  name: 'rolling-restart',
  what: 'a deploy: each of three instances ends by SIGTERM and is started again, one after the other',
  expects: 'complete',
  setting: ({ isShort }) => ({
    instances: 3,
    users: isShort ? 3 : 10,
    pages: isShort ? 4 : 20,
    interval: isShort ? 8 : 40,
    drain: isShort ? 1500 : 5000,
  }),
  async play(stage) {
    stage.front.arrivals.length = 0;
    const start = performance.now();
    for (const instance of stage.instances) {
      await stage.more(0.05);
      const status = await instance.terminate();
      stage.check(status === 0, `SIGTERM ended an instance with ${status}`);
      await instance.start();
    }
    await stage.recovered();
    stage.note(`connections made, by ${stage.plan.isShort ? 250 : 500} ms:`);
    const times = stage.front.arrivals.map((time) => time - start);
    stage.notes.push(...histogram(times, stage.plan.isShort ? 250 : 500));
  },
};

export const herd: Scenario = {
  name: 'herd',
  what: 'half of many pages lose their instance at once; the other instance takes them all',
  expects: 'complete',
  setting: ({ isShort }) => ({
    users: 20,
    pages: isShort ? 10 : 100,
    topics: [],
    interval: isShort ? 100 : 400,
    options: { limits: { sessionsPerUser: 1000 } },
    client: {
      reconnect: { min: 2000, max: 20_000 },
      connectTimeout: 30_000,
      heartbeat: { interval: 30_000, timeout: 30_000 },
    },
  }),
  async play(stage) {
    await stage.more(0.1);
    stage.front.arrivals.length = 0;
    const before = stage.pages.map((page) => page.waits.length);
    const start = performance.now();
    await stage.instances[0]!.kill();
    await stage.recovered();
    const waits = stage.pages.flatMap((page, i) => page.waits.slice(before[i], before[i]! + 1));
    stage.check(waits.length > 0, 'no page had to come back: the scenario proves nothing');
    const distance = distanceFromUniform(waits, 2000);
    // Exceeded once in 100,000 runs (Kolmogorov-Smirnov).
    const limit = 2.47 / Math.sqrt(waits.length);
    const figures = `distance from full jitter ${distance.toFixed(3)}, at most ${limit.toFixed(3)}`;
    stage.note(`${waits.length} pages chose when to come back: ${figures}`);
    stage.check(distance <= limit, `the pages' waits are not spread evenly: ${figures}`);
    stage.note('connections made, by 250 ms:');
    stage.notes.push(
      ...histogram(
        stage.front.arrivals.map((time) => time - start),
        250,
      ),
    );
  },
};

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

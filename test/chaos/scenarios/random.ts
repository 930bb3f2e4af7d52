/** All of it at random, for as long as was asked for. The same seed gives the same faults in the same order. */
import { Random } from '../../fuzz/random.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

type Fault = (stage: Stage, random: Random) => Promise<void>;

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

const share = (random: Random): { share: number } => ({ share: (1 + random.below(4)) / 4 });

const faults: Record<string, Fault> = {
  async 'pages cut'(stage, random) {
    stage.front.cut(share(random));
  },
  async 'pages half-open'(stage, random) {
    stage.front.freeze(share(random));
  },
  async 'pages late'(stage, random) {
    stage.front.delay = random.below(100);
    await pause(random.below(1000));
    stage.front.delay = 0;
  },
  async 'pages stalled'(stage, random) {
    const resume = stage.front.stall(share(random));
    await pause(random.below(1000));
    resume();
  },
  async 'pages offline'(stage, random) {
    const away = stage.pages.filter(() => random.chance(2));
    for (const page of away) page.close();
    await pause(random.below(1500));
    for (const page of away) page.reopen();
  },
  async 'instance killed'(stage, random) {
    const instance = random.pick(stage.instances);
    await instance.kill();
    await pause(random.below(500));
    await instance.start();
  },
  async 'instance terminated'(stage, random) {
    const instance = random.pick(stage.instances);
    const status = await instance.terminate();
    stage.check(status === 0, `SIGTERM ended an instance with ${status}`);
    await instance.start();
  },
  async 'instance stands still'(stage, random) {
    const instance = random.pick(stage.instances);
    instance.signal('SIGSTOP');
    await pause(random.below(3000));
    instance.signal('SIGCONT');
  },
  async 'Redis connections cut'(stage, random) {
    stage.back.cut(share(random));
  },
  async 'Redis connections half-open'(stage, random) {
    stage.back.freeze(share(random));
  },
  async 'subscribers half-open'(stage) {
    stage.back.freeze({ label: 'subscriber' });
  },
  async 'Redis unreachable'(stage, random) {
    stage.back.refuses = true;
    stage.back.cut();
    await pause(random.below(1500));
    stage.back.refuses = false;
  },
  async 'Redis late'(stage, random) {
    stage.back.delay = random.below(60);
    await pause(random.below(1000));
    stage.back.delay = 0;
  },
  async 'Redis killed'(stage, random) {
    await stage.redis.kill();
    await pause(random.below(500));
    await stage.redis.start();
  },
};

export const randomFaults: Scenario = {
  number: 19,
  name: 'random',
  what: 'all of it at random, often at the same time, for --seed and --time',
  expects: 'complete',
  setting: { instances: 3, redis: 'durable', drain: 500, users: 4, interval: 15 },
  async play(stage) {
    const { seed, time } = stage.plan;
    const random = new Random(seed);
    const counts = new Map<string, number>();
    const end = performance.now() + time * 1000;
    // Two at a time: a second fault in the middle of the recovery from a first is what breaks systems.
    const playing = [0, 1].map(async () => {
      while (performance.now() < end) {
        const name = random.pick(Object.keys(faults));
        counts.set(name, (counts.get(name) ?? 0) + 1);
        await inTurn(stage, name, () => faults[name]!(stage, random));
        await pause(random.below(600));
      }
    });
    await Promise.all(playing);
    await stage.recovered();
    stage.note([...counts].map(([name, count]) => `${name} ${count}`).join(', '));
  },
};

const turns = new WeakMap<Stage, Map<string, Promise<void>>>();

/** Two faults don't handle the same thing at once. */
function inTurn(stage: Stage, name: string, fault: () => Promise<void>): Promise<void> {
  const [subject] = name.split(' ') as [string];
  const busy = turns.get(stage) ?? new Map<string, Promise<void>>();
  turns.set(stage, busy);
  const turn = (busy.get(subject) ?? Promise.resolve()).then(fault);
  busy.set(subject, turn);
  return turn;
}

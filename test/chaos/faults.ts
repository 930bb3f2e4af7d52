/** What can happen at random, by its name: each breaks something and mends it again. */
import type { Random } from '../../src/prove/random.ts';
import { pause } from '../../src/waiting.ts';
import type { Stage } from './stage.ts';

export type Fault = (stage: Stage, random: Random) => Promise<void>;

const share = (random: Random): { share: number } => ({ share: (1 + random.below(4)) / 4 });

export const faults = {
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
  async 'store connections cut'(stage, random) {
    stage.back.cut(share(random));
  },
  async 'store connections half-open'(stage, random) {
    stage.back.freeze(share(random));
  },
  async 'subscribers half-open'(stage) {
    stage.back.freeze({ label: 'subscriber' });
  },
  async 'store unreachable'(stage, random) {
    stage.back.refuses = true;
    stage.back.cut();
    await pause(random.below(1500));
    stage.back.refuses = false;
  },
  async 'store late'(stage, random) {
    stage.back.delay = random.below(60);
    await pause(random.below(1000));
    stage.back.delay = 0;
  },
  async 'store killed'(stage, random) {
    await stage.lone.kill();
    await pause(random.below(500));
    await stage.lone.start();
  },
} satisfies Record<string, Fault>;

/** All of it at random, for as long as was asked for. The same seed gives the same faults in the same order. */
import { Random } from '../../../src/prove/random.ts';
import { pause } from '../../../src/waiting.ts';
import { type Fault, faults } from '../faults.ts';
import type { Scenario } from '../scenario.ts';
import type { Stage } from '../stage.ts';

export const randomFaults: Scenario = {
  number: 19,
  name: 'random',
  what: 'all of it at random, often at the same time, for --seed and --time',
  expects: 'complete',
  setting: { instances: 3, store: 'durable', drain: 500, users: 4, interval: 15 },
  async play(stage) {
    const { seed, time } = stage.plan;
    const random = new Random(seed);
    const counts = new Map<string, number>();
    const end = performance.now() + time * 1000;
    // Two at a time: a second fault in the middle of the recovery from a first is what breaks systems.
    const playing = [0, 1].map(async () => {
      while (performance.now() < end) {
        const [name, fault] = random.pick(Object.entries<Fault>(faults));
        counts.set(name, (counts.get(name) ?? 0) + 1);
        await inTurn(stage, name, () => fault(stage, random));
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

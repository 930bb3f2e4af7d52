/** Runs the loop in a thread, so that an input that never ends can be told, and named, from outside. */
import { parentPort, workerData } from 'node:worker_threads';
import { fuzz } from './fuzz.ts';
import { targets } from './targets.ts';

const { seed, seconds, only, pulse } = workerData as {
  seed: number;
  seconds: number;
  only: string | undefined;
  /** [0] grows with every input, [1] is the input's seed. */
  pulse: Int32Array;
};
const end = performance.now() + seconds * 1000;
const result = await fuzz({
  targets: only === undefined ? targets : targets.filter(({ target }) => target.name === only),
  seed,
  isDone: (inputs) => inputs > 0 && performance.now() >= end,
  onInput: (_target, own) => {
    pulse[1] = own;
    pulse[0]!++;
  },
});
parentPort!.postMessage(result);

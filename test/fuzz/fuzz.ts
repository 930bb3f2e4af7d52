/** The loop: choose a target, make an input, run it, and remember what went wrong. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Random } from '../../src/prove/random.ts';
import { mutate } from './mutate.ts';
import { MAX_INPUT, type Target } from './target.ts';

export interface Failure {
  target: string;
  /** The run can be repeated with it: every input has a seed of its own. */
  seed: number;
  input: string;
  error: string;
}

export interface FuzzOptions {
  targets: readonly { target: Target; weight: number }[];
  seed: number;
  /** Ends the run. Asked every few hundred inputs. */
  isDone(inputs: number): boolean;
  /** Called before an input is run, for whoever watches from outside. */
  onInput?(target: string, seed: number, input: Buffer): void;
  /** Default 20. */
  maxFailures?: number;
}

export interface FuzzResult {
  inputs: number;
  byTarget: Record<string, number>;
  failures: Failure[];
  /** Bytes in use, the collector having run, at the run's end and after its first part. */
  memory: { first: number; last: number };
}

/** What may be in use at the end beyond what was after the first part of the run. */
export const MEMORY_SLACK = 32 * 1024 * 1024;
const MEMORY_EVERY = 100_000;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

export async function fuzz(options: FuzzOptions): Promise<FuzzResult> {
  const { targets, seed, isDone, onInput, maxFailures = 20 } = options;
  // Nearly every input ends in an error, whose stack nobody reads.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  const wheel = targets.flatMap(({ target, weight }) => Array<Target>(weight).fill(target));
  const result: FuzzResult = { inputs: 0, byTarget: {}, failures: [], memory: { first: 0, last: 0 } };
  for (const { target } of targets) result.byTarget[target.name] = 0;
  while (result.failures.length < maxFailures) {
    if (result.inputs % 256 === 0) {
      if (isDone(result.inputs)) break;
      // zlib gives memory back when the event loop turns.
      await turn();
    }
    if (result.inputs === MEMORY_EVERY) result.memory.first = await inUse();
    const own = (seed + Math.imul(result.inputs, 0x9e3779b1)) >>> 0;
    const failure = await runOne(wheel, own, onInput);
    result.byTarget[wheelName(wheel, own)]!++;
    result.inputs++;
    if (failure) result.failures.push(failure);
  }
  if (result.inputs > MEMORY_EVERY) {
    result.memory.last = await inUse();
    const grown = result.memory.last - result.memory.first;
    if (grown > MEMORY_SLACK) {
      const error = `memory in use grew by ${grown} bytes over ${result.inputs} inputs`;
      result.failures.push({ target: 'all', seed, input: '', error });
    }
  }
  Error.stackTraceLimit = stackTraceLimit;
  return result;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function wheelName(wheel: readonly Target[], seed: number): string {
  return new Random(seed).pick(wheel).name;
}

/** One input, wholly determined by its seed. */
async function runOne(
  wheel: readonly Target[],
  seed: number,
  onInput: FuzzOptions['onInput'],
): Promise<Failure | undefined> {
  const random = new Random(seed);
  const target = random.pick(wheel);
  const input =
    target.generate !== undefined && random.chance(2)
      ? target.generate(random)
      : mutate(random.pick(target.corpus), target.corpus, random, MAX_INPUT);
  onInput?.(target.name, seed, input);
  const before = Buffer.from(input);
  try {
    const running = target.run(input, random);
    if (running !== undefined) await running;
    return undefined;
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    return { target: target.name, seed, input: before.toString('hex'), error: text };
  }
}

async function inUse(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collect();
    await turn();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The measured part of a run: what the server and the generator have used between its two ends. */
import { type CpuTime, cpuTime, residentMemory } from '../proc.ts';

/** How often it is looked at how busy the server was, in milliseconds. */
const LOOK = 50;
/** A server that is hardly busy is given this many times the time. */
const PATIENCE = 15;

/** What is wrong with a run whose server was not busy for long enough before the window. */
export const COLD =
  'the server had too little of the processor to get warm: what is measured would be the compiler';

/**
 * Resolves after so many milliseconds, in which the server had the CPU for half of them: on a machine that
 * others use too, time alone neither warms a server up nor measures it.
 *
 * @param isEnough asked as well
 * @returns false where that took so long that it was given up
 */
export async function elapseBusy(
  pids: number[],
  milliseconds: number,
  isEnough: () => boolean = () => true,
): Promise<boolean> {
  const from = performance.now();
  const { total } = cpuTime(pids);
  for (;;) {
    const elapsed = performance.now() - from;
    const wasBusy = cpuTime(pids).total - total >= milliseconds * 0.5e6;
    if (elapsed >= milliseconds && wasBusy && isEnough()) return true;
    if (elapsed >= milliseconds * PATIENCE) return false;
    await new Promise((resolve) => setTimeout(resolve, Math.max(LOOK, milliseconds - elapsed)));
  }
}

export class Window {
  readonly #pids: number[];
  #start: CpuTime = { total: 0, system: 0 };
  #own = process.cpuUsage();
  #time = 0;

  constructor(pids: number[]) {
    this.#pids = pids;
  }

  open(): void {
    this.#start = cpuTime(this.#pids);
    this.#own = process.cpuUsage();
    this.#time = performance.now();
  }

  close(): { elapsed: number; serverCpu: CpuTime; ownCpu: number; memory: number } {
    const elapsed = performance.now() - this.#time;
    const end = cpuTime(this.#pids);
    const own = process.cpuUsage(this.#own);
    return {
      elapsed,
      serverCpu: { total: end.total - this.#start.total, system: end.system - this.#start.system },
      ownCpu: (own.user + own.system) * 1000,
      memory: residentMemory(this.#pids),
    };
  }
}

/** The measured part of a run: what the server and the generator have used between its two ends. */
import { type CpuTime, cpuTime, residentMemory } from '../proc.ts';

/** How often it is looked at how busy the server was, in milliseconds. */
const LOOK = 50;
/** A server that is hardly busy is given this many times the time. */
const PATIENCE = 6;

/**
 * Resolves after so many milliseconds, in which the server had the CPU for half of them: on a machine that
 * others use too, time alone neither warms a server up nor measures it.
 *
 * @param isEnough asked as well; but not even that is waited for beyond PATIENCE
 */
export async function elapseBusy(
  pids: number[],
  milliseconds: number,
  isEnough: () => boolean = () => true,
): Promise<void> {
  const from = performance.now();
  const { total } = cpuTime(pids);
  for (;;) {
    const elapsed = performance.now() - from;
    if (elapsed >= milliseconds * PATIENCE) return;
    if (elapsed >= milliseconds && cpuTime(pids).total - total >= milliseconds * 0.5e6 && isEnough()) return;
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

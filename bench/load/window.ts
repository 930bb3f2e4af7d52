/** The measured part of a run: what the server and the generator have used between its two ends. */
import { type CpuTime, cpuTime, residentMemory } from '../proc.ts';

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

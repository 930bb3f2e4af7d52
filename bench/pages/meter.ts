/** What instances, Redis and the generator have used between two moments. */
import { type CpuTime, cpuTime, residentMemory } from '../proc.ts';
import type { PageJob, PageResult } from './job.ts';

type Used = Pick<PageResult, 'elapsed' | 'serverCpu' | 'redisCpu' | 'ownCpu' | 'memory'>;

export class Meter {
  readonly #job: PageJob;
  readonly #server: CpuTime;
  readonly #redis: CpuTime;
  readonly #own = process.cpuUsage();
  readonly #time = performance.now();

  constructor(job: PageJob) {
    this.#job = job;
    this.#server = cpuTime(job.pids);
    this.#redis = cpuTime(job.redisPids);
  }

  stop(): Used {
    const { pids, redisPids } = this.#job;
    const own = process.cpuUsage(this.#own);
    return {
      elapsed: performance.now() - this.#time,
      serverCpu: since(this.#server, cpuTime(pids)),
      redisCpu: since(this.#redis, cpuTime(redisPids)),
      ownCpu: (own.user + own.system) * 1000,
      memory: residentMemory(pids),
    };
  }
}

function since(start: CpuTime, end: CpuTime): CpuTime {
  return { total: end.total - start.total, system: end.system - start.system };
}

/** Resolves when the server has had nothing to do for a moment. */
export async function quiet(pids: number[]): Promise<void> {
  for (let calm = 0, tries = 0; calm < 3 && tries < 300; tries++) {
    const { total } = cpuTime(pids);
    await new Promise((resolve) => setTimeout(resolve, 100));
    calm = cpuTime(pids).total - total < 3e6 ? calm + 1 : 0;
  }
}

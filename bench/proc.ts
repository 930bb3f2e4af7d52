/** What Linux knows about a process: CPU time, memory, system calls. */
import { readdirSync, readFileSync } from 'node:fs';

export interface CpuTime {
  /** Nanoseconds on a CPU, user and system, of all threads that are alive. */
  total: number;
  /** The part spent in the kernel, in nanoseconds; the clock behind it ticks every 10 ms. */
  system: number;
}

/** CPU time of several processes so far, from the scheduler's own count. */
export function cpuTime(pids: number[]): CpuTime {
  let total = 0;
  let system = 0;
  for (const pid of pids) {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      total += Number(read(`/proc/${pid}/task/${thread}/schedstat`).split(' ')[0]);
    }
    const stat = read(`/proc/${pid}/stat`);
    system += Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[12]) * 1e7;
  }
  return { total, system };
}

/** Resident memory of several processes, in bytes. */
export function residentMemory(pids: number[]): number {
  let bytes = 0;
  for (const pid of pids) {
    bytes += Number(/^VmRSS:\s+(\d+) kB/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
  }
  return bytes;
}

/** Calls of read and its kin, and of write and its kin, so far. Sockets are counted as files are. */
export function systemCalls(pid: number): { reads: number; writes: number } {
  const io = read(`/proc/${pid}/io`);
  return {
    reads: Number(/^syscr: (\d+)/m.exec(io)?.[1]),
    writes: Number(/^syscw: (\d+)/m.exec(io)?.[1]),
  };
}

/** How many files and sockets this process may have open, and so any child of it. */
export function openFilesLimit(): number {
  const soft = /^Max open files\s+\S+\s+(\d+|unlimited)/m.exec(read('/proc/self/limits'))?.[1] ?? '1024';
  return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    // A thread may end between the listing and the reading.
    if (
      (error as NodeJS.ErrnoException).code === 'ENOENT' ||
      (error as NodeJS.ErrnoException).code === 'ESRCH'
    )
      return '0';
    throw error;
  }
}

/** What a process tells of itself, whoever runs in it. */
import { performance } from 'node:perf_hooks';
import { VERSION } from '../version.ts';
import { loopDelay } from './event-loop.ts';
import { counter, type Family, gauge } from './family.ts';

/** Of this process: its memory, processor time and event loop, and what it is. */
export function processFamilies(): Family[] {
  const { heapUsed, heapTotal, external, rss } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const { active, idle } = performance.eventLoopUtilization();
  const { p50, p99, max } = loopDelay();
  return [
    gauge(
      'tidings_event_loop_delay_seconds',
      'How late the event loop was, in the worst ten seconds of the last minute.',
      [
        [{ stat: 'p50' }, p50 / 1000],
        [{ stat: 'p99' }, p99 / 1000],
        [{ stat: 'max' }, max / 1000],
      ],
      'max',
    ),
    counter('tidings_event_loop_seconds_total', 'Time of the event loop: at work, and with nothing to do.', [
      [{ state: 'active' }, active / 1000],
      [{ state: 'idle' }, idle / 1000],
    ]),
    counter('tidings_cpu_seconds_total', 'Processor time of the process, all threads together.', [
      [{ mode: 'user' }, user / 1e6],
      [{ mode: 'system' }, system / 1e6],
    ]),
    gauge('tidings_heap_used_bytes', "Memory of JavaScript's heap that is in use.", heapUsed),
    gauge('tidings_heap_size_bytes', "Memory that JavaScript's heap has taken.", heapTotal),
    gauge('tidings_external_bytes', 'Memory of buffers, outside of the heap.', external),
    gauge('tidings_resident_memory_bytes', 'Memory of the whole process.', rss),
    gauge(
      'tidings_start_time_seconds',
      'When the process has started, in seconds since 1970.',
      performance.timeOrigin / 1000,
      'min',
    ),
    gauge(
      'tidings_build_info',
      'Always 1: which tidings, and which Node.',
      [[{ version: VERSION, node: process.versions.node }, 1]],
      'max',
    ),
  ];
}

/** Subscribes, has a flood published, and says what each message received cost this process. */
import { fork } from 'node:child_process';
import { answer, onJob } from '../program.ts';
import { subscribers } from './clients.ts';
import type { RespJob } from './job.ts';
import { STEP } from './pace.ts';

onJob<RespJob>(async (job, fail) => {
  let received = 0;
  let due = STEP;
  const flood = fork(new URL('./flood.js', import.meta.url));
  const subscribe = subscribers[job.client]!(job.port, fail);
  await subscribe('bench', (payload) => {
    // The handlers that want bytes get none; anything else must be whole.
    if (payload.length !== job.size && payload !== '')
      fail(new Error(`a payload of ${payload.length} bytes`));
    received++;
    if (--due === 0) {
      due = STEP;
      flood.send('more');
    }
  });
  flood.send(job);
  setTimeout(() => {
    received = 0;
    const cpu = process.cpuUsage();
    const from = performance.now();
    setTimeout(() => {
      const used = process.cpuUsage(cpu);
      flood.kill();
      answer({ messages: received, elapsed: performance.now() - from, ...used });
    }, job.duration);
  }, job.warmup);
});

/** Keeps `depth` PUBLISH commands outstanding and says what each cost this process. */
import { answer, onJob } from '../program.ts';
import { publishers } from './clients.ts';
import type { RespJob } from './job.ts';

onJob<RespJob>(async ({ client, port, size, depth, warmup, duration }, fail) => {
  const publisher = await publishers[client]!(port, fail);
  const payload = 'm'.repeat(size);
  let completed = 0;
  const next = (receivers: unknown) => {
    if (receivers !== 0) fail(new Error(`nobody is subscribed, and ${receivers} have got a message`));
    completed++;
    publisher.publish('bench', payload, next);
  };
  for (let i = 0; i < depth; i++) publisher.publish('bench', payload, next);

  setTimeout(() => {
    completed = 0;
    const cpu = process.cpuUsage();
    const from = performance.now();
    setTimeout(() => {
      const used = process.cpuUsage(cpu);
      answer({ messages: completed, elapsed: performance.now() - from, ...used });
    }, duration);
  }, warmup);
});

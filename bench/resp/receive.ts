/** Subscribes, has a flood published, and says what each message received cost this process. */
import { fork } from 'node:child_process';
import { answer, onJob } from '../program.ts';
import { subscribers } from './clients.ts';
import type { RespJob } from './job.ts';
import { BATCH, FIRST, REST, STEP } from './pace.ts';

onJob<RespJob>(async (job, fail) => {
  let received = 0;
  /** Of the batch of which a message is due. */
  let position = 0;
  const [first, rest] = [FIRST.charCodeAt(0), REST.charCodeAt(0)];
  let due = STEP;
  const flood = fork(new URL('./flood.js', import.meta.url));
  flood.on('error', fail);
  flood.on('exit', (status, signal) => fail(new Error(`the flood ended with ${signal ?? status}`)));
  const subscribe = subscribers[job.client]!(job.port, fail);
  let begin = () => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  await subscribe('bench', (start, length) => {
    if (received === 0) begin();
    if (length !== job.size) fail(new Error(`a payload of ${length} bytes`));
    if (start !== (position === 0 ? first : rest)) fail(new Error('messages were lost or doubled'));
    if (++position === BATCH) position = 0;
    received++;
    if (--due === 0) {
      due = STEP;
      flood.send('more');
    }
  });
  flood.send(job);
  await begun;
  setTimeout(() => {
    received = 0;
    const cpu = process.cpuUsage();
    const from = performance.now();
    setTimeout(() => {
      const used = process.cpuUsage(cpu);
      flood.removeAllListeners('exit');
      flood.kill();
      answer({ messages: received, elapsed: performance.now() - from, ...used });
    }, job.duration);
  }, job.warmup);
});

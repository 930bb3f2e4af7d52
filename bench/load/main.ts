/** The load generator: one process, one job, one answer. */
import { broadcast } from './broadcast.ts';
import { echo } from './echo.ts';
import { handshakes } from './handshakes.ts';
import { idle } from './idle.ts';
import type { Job } from './job.ts';

const scenarios = { echo, broadcast, handshakes, idle };

process.once('message', async (job: Job) => {
  const fail = (error: Error) => answer({ error: error.message });
  try {
    answer({ result: await scenarios[job.scenario](job, fail) });
  } catch (error) {
    fail(error as Error);
  }
});

function answer(message: object): void {
  if (process.connected) process.send!(message, () => process.exit(0));
}

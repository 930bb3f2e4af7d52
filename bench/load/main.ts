/** The load generator: one process, one job, one answer. */
import { answer, onJob } from '../program.ts';
import { broadcast } from './broadcast.ts';
import { echo } from './echo.ts';
import { handshakes } from './handshakes.ts';
import { idle } from './idle.ts';
import type { Job } from './job.ts';

const scenarios = { echo, broadcast, handshakes, idle };

onJob<Job>(async (job, fail) => answer(await scenarios[job.scenario](job, fail)));

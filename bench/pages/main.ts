/** The generator of pages: one process, one job, one answer. */
import { answer, onJob } from '../program.ts';
import { deliver } from './deliver.ts';
import type { PageJob, PageResult } from './job.ts';
import { rest } from './rest.ts';
import { comeBack } from './return.ts';
import { visit } from './visit.ts';

type Play = (job: PageJob, fail: (error: Error) => void) => Promise<PageResult>;
const scenarios: Record<PageJob['scenario'], Play> = {
  user: deliver,
  topic: deliver,
  rest,
  return: comeBack,
  visit,
};

onJob<PageJob>(async (job, fail) => answer(await scenarios[job.scenario](job, fail)));

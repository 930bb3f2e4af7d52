/** One operation of one codec, in its own process. */
import type { CodecJob, CodecResult } from '../codec/job.ts';
import { runProgram } from '../program.ts';
import { measuring } from '../roster.ts';
import type { Row } from '../rows.ts';
import type { MeasureOptions, Sample } from './scenario.ts';

/** MiB of each half of the young generation: allocations are counted between two collections. */
const SEMI_SPACE = 64;

export async function measureCodec(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const { folder, subject } = measuring(name);
  const job: CodecJob = {
    operation: row.operation!,
    subject,
    size: row.size,
    kind: row.kind,
    warmup: options.warmup / 2,
    duration: options.duration / 3,
  };
  const { nanoseconds, allocated } = await runProgram<CodecResult>(folder, 'codec/main.js', job, {
    timeout: 60_000,
    flags: [`--min-semi-space-size=${SEMI_SPACE}`, `--max-semi-space-size=${SEMI_SPACE}`],
  });
  return { cost: nanoseconds, allocated };
}

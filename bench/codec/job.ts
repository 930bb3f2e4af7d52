import type { ContentKind } from '../load/job.ts';

export interface CodecJob {
  operation: string;
  subject: string;
  /** Payload bytes. */
  size: number;
  kind: ContentKind;
  /** Milliseconds. */
  warmup: number;
  duration: number;
}

export interface CodecResult {
  /** Per frame, of CPU. */
  nanoseconds: number;
  /** Bytes per frame. */
  allocated: number;
}

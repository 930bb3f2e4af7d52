/** What a scenario is given, and what it answers. */
import type { Row } from '../rows.ts';

export interface Scenario {
  /** One run of one peer, in a process of its own. */
  run(name: string, row: Row, options: MeasureOptions): Promise<Sample>;
  /** Why a peer can't run here; undefined if it can. */
  whyNot?(name: string, row: Row): string | undefined;
}

export interface MeasureOptions {
  rounds: number;
  /** Milliseconds. */
  warmup: number;
  duration: number;
  /** It is to be seen that all runs; nobody reads the figures. */
  isShort: boolean;
  /** A folder for CPU profiles of the servers that run on Node. */
  profile?: string;
  /** Called after each run, for a line of progress. */
  progress?: (text: string) => void;
}

/** One run of one peer. What a scenario has no figure for is left out. */
export interface Sample {
  /** In the row's unit. */
  cost: number;
  /** The kernel's part of the CPU time, 0…1. */
  system?: number;
  /** Messages per second. */
  rate?: number;
  /** Milliseconds. */
  p50?: number;
  p99?: number;
  /** MiB of resident memory of the server at the end. */
  memory?: number;
  /** How busy the generator was, 0…1; near 1 the rate is its own, and only the cost is the server's. */
  generator?: number;
  /** Bytes allocated per frame. */
  allocated?: number;
  /** µs of CPU of Redis, for what `cost` is of the instance. */
  redis?: number;
  /** How often Redis is asked for one page that opens and leaves. */
  roundTrips?: number;
  /** As `cost`, before anything was asked to collect: with what the rush of opening has left behind. */
  uncollected?: number;
  /** Bytes that Redis keeps for each page. */
  redisMemory?: number;
  /** µs of CPU that an idle page costs its instance, and Redis, in 10 s. */
  idle?: number;
  redisIdle?: number;
}

/** Runs the rows: every peer in its own process, one after the other, round by round. */
import { fork } from 'node:child_process';
import { join } from 'node:path';
import { outFolder } from './build.ts';
import type { Job, JobResult } from './load/job.ts';
import { openFilesLimit } from './proc.ts';
import { startServer } from './processes.ts';
import { type Peer, peerNamed, whyNot } from './roster.ts';
import type { Row } from './rows.ts';
import { median, spread } from './statistics.ts';

/** One run of one peer. */
export interface Sample {
  /** In the row's unit: server CPU per message, or memory per connection. */
  cost: number;
  /** The kernel's part of it, 0…1. */
  system: number;
  /** Messages per second. */
  rate: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** MiB of resident memory of the server at the end. */
  memory: number;
  /** How busy the generator was, 0…1; near 1 the rate is its own, and only the cost is the server's. */
  generator: number;
}

export interface PeerResult {
  name: string;
  /** As long as the number of rounds, or a failure. */
  samples: Sample[];
  median: Sample;
  /** ± of the cost, as a part of it. */
  spread: number;
  /** Cost of the reference ÷ own cost, in the same round: their median and spread. */
  ratio: number;
  ratioSpread: number;
  failure?: string;
}

export interface RowResult {
  row: Row;
  peers: PeerResult[];
  /** The reference against itself (A/A): how far from 1 its ratios were, at the median and at the worst. */
  noise: { median: number; worst: number };
  /** Peers that were not run, and why. */
  notRun: { name: string; why: string }[];
}

export interface MeasureOptions {
  rounds: number;
  /** Milliseconds. */
  warmup: number;
  duration: number;
  /** Called after each run, for a line of progress. */
  progress?: (text: string) => void;
}

/** The second run of the reference. */
export const AGAIN = ' again';

export async function measureRow(row: Row, options: MeasureOptions): Promise<RowResult> {
  const notRun: RowResult['notRun'] = [];
  const names: string[] = [];
  for (const name of row.peers) {
    const why = whyNotHere(peerNamed(name), row);
    if (why) notRun.push({ name, why });
    else names.push(name);
  }
  if (names.includes(row.reference)) names.splice(names.indexOf(row.reference) + 1, 0, row.reference + AGAIN);

  const runs = new Map<string, Sample[]>(names.map((name) => [name, []]));
  const failures = new Map<string, string>();
  for (let round = 0; round < options.rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      // Each round begins with another peer, so that nobody always runs behind the same neighbour.
      const name = names[(i + round) % names.length]!;
      if (failures.has(name)) continue;
      try {
        const sample = await measureOnce(peerNamed(name.replace(AGAIN, '')), row, options);
        runs.get(name)!.push(sample);
        options.progress?.(
          `${row.id} ${round + 1}/${options.rounds} ${name}: ${sample.cost.toPrecision(3)} ${row.unit}`,
        );
      } catch (error) {
        failures.set(name, (error as Error).message);
        options.progress?.(`${row.id} ${name} failed: ${(error as Error).message}`);
      }
    }
  }

  const reference = runs.get(row.reference) ?? [];
  const peers = names.map((name) => summarize(name, runs.get(name)!, reference, failures.get(name)));
  const again = ratios(runs.get(row.reference + AGAIN) ?? [], reference);
  return {
    row,
    peers,
    noise: {
      median: Math.abs(median(again) - 1),
      worst: Math.max(...again.map((ratio) => Math.abs(ratio - 1))),
    },
    notRun,
  };
}

function whyNotHere(peer: Peer, row: Row): string | undefined {
  if (row.deflate && !peer.deflate) return 'has no permessage-deflate';
  const files = row.conns + 200;
  if (files > openFilesLimit()) return `needs ulimit -n ${files}, here it is ${openFilesLimit()}`;
  return whyNot(peer);
}

function ratios(samples: Sample[], reference: Sample[]): number[] {
  return samples.flatMap((sample, round) => {
    const other = reference[round];
    return other ? [other.cost / sample.cost] : [];
  });
}

function summarize(
  name: string,
  samples: Sample[],
  reference: Sample[],
  failure: string | undefined,
): PeerResult {
  const middle = (key: keyof Sample) => median(samples.map((sample) => sample[key]));
  const compared = ratios(samples, reference);
  return {
    name,
    samples,
    median: {
      cost: middle('cost'),
      system: middle('system'),
      rate: middle('rate'),
      p50: middle('p50'),
      p99: middle('p99'),
      memory: middle('memory'),
      generator: middle('generator'),
    },
    spread: spread(samples.map((sample) => sample.cost)),
    ratio: median(compared),
    ratioSpread: spread(compared),
    failure,
  };
}

async function measureOnce(peer: Peer, row: Row, options: MeasureOptions): Promise<Sample> {
  const isIdle = row.scenario === 'idle';
  const server = await startServer(peer, {
    mode: row.scenario === 'broadcast' ? 'broadcast' : 'echo',
    deflate: row.deflate,
    exposeGc: isIdle,
  });
  let result: JobResult;
  try {
    result = await runJob({
      scenario: row.scenario,
      port: server.port,
      wire: peer.wire,
      pids: server.pids,
      conns: row.conns,
      depth: row.depth,
      size: row.size,
      kind: row.kind,
      deflate: row.deflate,
      warmup: options.warmup,
      duration: options.duration,
      firstConnection: 0,
    });
  } finally {
    await server.stop();
  }
  const { messages, elapsed, serverCpu, ownCpu, p50, p99, memory, memoryBefore } = result;
  if (messages === 0) throw new Error('not one message in the whole window');
  return {
    cost: isIdle ? (memory - memoryBefore) / 1024 / row.conns : serverCpu.total / 1000 / messages,
    system: serverCpu.system / serverCpu.total,
    rate: (messages / elapsed) * 1000,
    p50,
    p99,
    memory: memory / 1024 / 1024,
    generator: ownCpu / 1e6 / elapsed,
  };
}

function runJob(job: Job): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const generator = fork(join(outFolder, 'load', 'main.js'), { execArgv: [] });
    // Far beyond what any run takes on a busy machine.
    const timeout = 30_000 + job.conns * 10 + 4 * (job.warmup + job.duration);
    const cut = setTimeout(() => {
      generator.kill('SIGKILL');
      reject(new Error(`the load generator was not done after ${timeout} ms`));
    }, timeout);
    generator.once('message', (answer: { result?: JobResult; error?: string }) => {
      if (answer.result) resolve(answer.result);
      else reject(new Error(answer.error));
    });
    generator.once('exit', (status, signal) => {
      clearTimeout(cut);
      reject(new Error(`the load generator ended with ${signal ?? status}`));
    });
    generator.send(job);
  });
}

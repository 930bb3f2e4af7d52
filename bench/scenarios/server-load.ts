/** One peer as a server in its own process, or several; one load generator, or several; one window. */
import { join } from 'node:path';
import { outFolder } from '../build.ts';
import type { Job, JobResult } from '../load/job.ts';
import { openFilesLimit } from '../proc.ts';
import { startServer } from '../processes.ts';
import { runProgram } from '../program.ts';
import { peerNamed, whyNot } from '../roster.ts';
import type { Row } from '../rows.ts';
import type { MeasureOptions, Sample } from './scenario.ts';

/** Files that a process has open besides connections. */
const OTHER_FILES = 200;
/** How full workers are planned to be. */
const EVENNESS = 0.6;

export function whyNotServed(name: string, row: Row): string | undefined {
  const peer = peerNamed(name);
  if (row.scenario === 'handshakes' && peer.wire === 'raw') return 'has no handshake';
  if (row.deflate && !peer.deflate) return 'has no permessage-deflate';
  if (row.answers && !peer.answers) return 'answers in one way only';
  if (processesFor(row) > 1 && !peer.workers) {
    return `needs ulimit -n ${row.conns + OTHER_FILES}, here it is ${openFilesLimit()}`;
  }
  return whyNot(peer);
}

/** Workers of the server, and generators: as many as it takes for all connections to be open. */
function processesFor({ conns, workers = 1 }: Row): number {
  const limit = openFilesLimit() - OTHER_FILES;
  // Connections are not dealt out evenly: who is quicker gets more.
  return conns <= limit ? workers : Math.max(workers, Math.ceil(conns / (limit * EVENNESS)));
}

export async function serveLoad(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const peer = peerNamed(name);
  const server = await startServer(peer, {
    mode: row.scenario === 'broadcast' ? 'broadcast' : 'echo',
    deflate: row.deflate,
    isStrict: true,
    answers: row.answers,
    answerSize: row.answers === 'stored' ? row.size : undefined,
    workers: processesFor(row),
    greet: peer.wire === 'raw',
    exposeGc: row.scenario === 'idle',
    nodeFlags:
      options.profile === undefined
        ? undefined
        : ['--cpu-prof', `--cpu-prof-dir=${join(options.profile, row.id, name)}`, '--cpu-prof-interval=200'],
  });
  try {
    const job = {
      ...jobOf(row, options),
      ports: [server.port],
      path: peer.path,
      wire: peer.wire,
      pids: server.pids,
    };
    return sampleOf(row, await generate(job, row, options));
  } finally {
    await server.stop();
  }
}

/** What a row asks of the load generator, whoever the server is. */
export function jobOf(
  row: Row,
  { warmup, duration, isShort }: MeasureOptions,
): Omit<Job, 'ports' | 'wire' | 'pids'> {
  const { conns, depth, size, kind, deflate, answers = 'now' } = row;
  // The other scenarios of a row have no load generator.
  const scenario = row.scenario as Job['scenario'];
  return {
    scenario,
    conns,
    depth,
    size,
    kind,
    deflate,
    answers,
    warmup,
    duration,
    mayBeCold: isShort,
    settle: 200,
    firstConnection: 0,
    isPart: false,
  };
}

/** Runs as many generators as the connections need, together, and adds up what they saw. */
export async function generate(job: Job, row: Row, options: MeasureOptions): Promise<JobResult> {
  const parts = row.scenario === 'echo' ? Math.ceil(row.conns / (openFilesLimit() - OTHER_FILES)) : 1;
  // Far beyond what any run takes on a busy machine.
  const timeout = 30_000 + row.conns * 10 + 10 * (options.warmup + options.duration);
  if (parts === 1) return runProgram<JobResult>(outFolder, 'load/main.js', job, { timeout });

  let waiting = parts;
  let release = () => {};
  const allReady = new Promise<void>((resolve) => {
    release = resolve;
  });
  const ready = () => {
    if (--waiting === 0) release();
    return allReady;
  };
  const share = Math.ceil(row.conns / parts);
  const results = await Promise.all(
    Array.from({ length: parts }, (_, i) => {
      const firstConnection = i * share;
      const conns = Math.min(share, row.conns - firstConnection);
      return runProgram<JobResult>(
        outFolder,
        'load/main.js',
        { ...job, conns, firstConnection, isPart: true },
        { timeout, ready },
      );
    }),
  );
  // Their windows begin and end together but for some milliseconds: rates add up, the CPU is the first one's.
  const [first] = results as [JobResult];
  const rate = results.reduce((sum, { messages, elapsed }) => sum + messages / elapsed, 0);
  return {
    ...first,
    messages: rate * first.elapsed,
    ownCpu: results.reduce((sum, { ownCpu }) => sum + ownCpu, 0),
    p99: Math.max(...results.map(({ p99 }) => p99)),
  };
}

export function sampleOf(row: Row, result: JobResult): Sample {
  const { messages, elapsed, serverCpu, ownCpu, p50, p99, memory, memoryBefore } = result;
  if (messages === 0) throw new Error('not one message in the whole window');
  if (row.scenario === 'idle')
    return { cost: (memory - memoryBefore) / 1024 / row.conns, memory: memory / 2 ** 20 };
  return {
    cost: serverCpu.total / 1000 / messages,
    system: serverCpu.system / serverCpu.total,
    rate: (messages / elapsed) * 1000,
    p50,
    p99,
    memory: memory / 2 ** 20,
    generator: ownCpu / 1e6 / elapsed,
  };
}

/** One peer as a server in its own process, one load generator, one window. */
import { join } from 'node:path';
import { outFolder } from '../build.ts';
import type { Job, JobResult } from '../load/job.ts';
import type { MeasureOptions, Sample } from '../measure.ts';
import { openFilesLimit } from '../proc.ts';
import { startServer } from '../processes.ts';
import { runProgram } from '../program.ts';
import { peerNamed, whyNot } from '../roster.ts';
import type { Row } from '../rows.ts';

export function whyNotServed(name: string, row: Row): string | undefined {
  const peer = peerNamed(name);
  if (row.scenario === 'handshakes' && peer.wire === 'raw') return 'has no handshake';
  if (row.deflate && !peer.deflate) return 'has no permessage-deflate';
  const files = row.conns + 200;
  if (files > openFilesLimit()) return `needs ulimit -n ${files}, here it is ${openFilesLimit()}`;
  return whyNot(peer);
}

export async function serveLoad(name: string, row: Row, options: MeasureOptions): Promise<Sample> {
  const peer = peerNamed(name);
  const isIdle = row.scenario === 'idle';
  const server = await startServer(peer, {
    mode: row.scenario === 'broadcast' ? 'broadcast' : 'echo',
    deflate: row.deflate,
    exposeGc: isIdle,
    nodeFlags:
      options.profile === undefined
        ? undefined
        : ['--cpu-prof', `--cpu-prof-dir=${join(options.profile, row.id, name)}`, '--cpu-prof-interval=200'],
  });
  let result: JobResult;
  try {
    const job: Job = {
      scenario: row.scenario as Job['scenario'],
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
    };
    // Far beyond what any run takes on a busy machine.
    const timeout = 30_000 + row.conns * 10 + 10 * (options.warmup + options.duration);
    result = await runProgram<JobResult>(outFolder, 'load/main.js', job, { timeout });
  } finally {
    await server.stop();
  }
  const { messages, elapsed, serverCpu, ownCpu, p50, p99, memory, memoryBefore } = result;
  if (messages === 0) throw new Error('not one message in the whole window');
  if (isIdle) return { cost: (memory - memoryBefore) / 1024 / row.conns, memory: memory / 2 ** 20 };
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

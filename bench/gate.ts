/**
 * The regression gate: what a message costs in system calls and in bytes allocated, counted in fixed
 * scenarios. Counts don't depend on how busy the machine is, so a test may insist on them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { buildBench } from './build.ts';
import { Connection } from './load/connection.ts';
import { buildContent, type Content, storedContent } from './load/content.ts';
import { systemCalls } from './proc.ts';
import { listeningPort } from './processes.ts';
import { type Answers, command, peerNamed } from './roster.ts';
import { median } from './statistics.ts';

/**
 * What is counted for each message, or each delivery of a broadcast: calls of read and its kin, calls of write
 * and its kin, and bytes allocated on the heap and as array buffers.
 */
const COUNTED = ['reads', 'writes', 'allocated'] as const;
export type Counts = Record<(typeof COUNTED)[number], number>;

export interface GateScenario {
  name: string;
  peer: 'tidings' | 'tidings-embedded' | 'tidings-events';
  mode: 'echo' | 'broadcast';
  /** Default: at once, with what came in. */
  answers?: Answers;
  conns: number;
  /** Messages that the client sends in one write. */
  batch: number;
  size: number;
  /** None of the counts may be above these. */
  limits: Counts;
}

/**
 * Limits are what was counted on Node 20 with 10 % to spare for calls (a segment that is cut, a wake-up) and
 * 25 % for bytes (other Node versions). Lower them when the code gets better.
 */
export const gateScenarios: GateScenario[] = [
  {
    name: 'echo 125 B, one at a time: a read and a write',
    ...{ peer: 'tidings', mode: 'echo', conns: 1, batch: 1, size: 125 },
    limits: { reads: 1.1, writes: 1.1, allocated: 650 },
  },
  {
    name: 'echo 125 B, 16 in one segment: one read, and one write for all answers',
    ...{ peer: 'tidings', mode: 'echo', conns: 1, batch: 16, size: 125 },
    limits: { reads: 1.1 / 16, writes: 1.1 / 16, allocated: 150 },
  },
  {
    name: 'echo 125 B, 16 in one segment, on an http.Server',
    ...{ peer: 'tidings-embedded', mode: 'echo', conns: 1, batch: 16, size: 125 },
    limits: { reads: 1.1 / 16, writes: 1.1 / 16, allocated: 150 },
  },
  {
    name: 'echo 1 KiB, 16 in one segment',
    ...{ peer: 'tidings', mode: 'echo', conns: 1, batch: 16, size: 1024 },
    limits: { reads: 1.1 / 16, writes: 1.1 / 16, allocated: 150 },
  },
  {
    name: 'events: echo 125 B, 16 in one segment, messages that may be kept',
    ...{ peer: 'tidings-events', mode: 'echo', conns: 1, batch: 16, size: 125 },
    limits: { reads: 1.1 / 16, writes: 1.1 / 16, allocated: 400 },
  },
  {
    name: 'events: 16 answers of 125 B in another turn of the event loop',
    ...{ peer: 'tidings-events', mode: 'echo', answers: 'later', conns: 1, batch: 16, size: 125 },
    limits: { reads: 1.1 / 16, writes: 2.2 / 16, allocated: 590 },
  },
  {
    name: 'events: 16 answers of 125 B, each with a callback',
    ...{ peer: 'tidings-events', mode: 'echo', answers: 'callback', conns: 1, batch: 16, size: 125 },
    limits: { reads: 1.1 / 16, writes: 1.1 / 16, allocated: 660 },
  },
  {
    name: 'events: 64 KiB by reference: one write for header and payload, and no copy',
    ...{ peer: 'tidings-events', mode: 'echo', answers: 'stored', conns: 1, batch: 1, size: 65536 },
    limits: { reads: 1.1, writes: 1.1, allocated: 2400 },
  },
  {
    name: 'broadcast 128 B to 100, one at a time: one write for each connection',
    ...{ peer: 'tidings', mode: 'broadcast', conns: 100, batch: 1, size: 128 },
    limits: { reads: 0.02, writes: 1.1, allocated: 290 },
  },
  {
    name: 'broadcast 128 B to 100, 16 in one segment: still one write for each connection',
    ...{ peer: 'tidings', mode: 'broadcast', conns: 100, batch: 16, size: 128 },
    limits: { reads: 0.02 / 16, writes: 1.1 / 16, allocated: 31 },
  },
];

/** Batches before counting, so that compiled code is counted and caches are filled. */
const WARM_BATCHES = 2000;
const SAMPLES = 9;
const BATCHES_PER_SAMPLE = 100;
/**
 * On a busy machine code is compiled late, by threads that hardly run: counts above the limits are taken
 * again. What costs too much costs too much each time.
 */
const ROUNDS = 8;

export async function count(scenario: GateScenario): Promise<Counts> {
  await buildBench({ installsPeers: false });
  const server = await start(scenario);
  const { conns, batch, size, mode } = scenario;
  const content =
    scenario.answers === 'stored'
      ? storedContent(size, batch)
      : buildContent('websocket', 'text', size, batch, false);
  let fail: (error: Error) => void = () => {};
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});
  const opening = Array.from({ length: conns }, () => connect(server.port, content, fail));
  const connections = await Promise.race([failure, Promise.all(opening)]);
  let counts: Counts;
  let status: number | null;
  try {
    const [sender] = connections as [Connection];
    const receivers = mode === 'broadcast' ? connections : [sender];
    const exchange = () => Promise.race([failure, roundTrip(sender, receivers, batch)]);
    for (let i = 0; i < WARM_BATCHES / Math.sqrt(conns); i++) await exchange();

    const round = async (): Promise<Counts> => {
      const samples: Counts[] = [];
      for (let sample = 0; sample < SAMPLES; sample++) {
        const before = await server.state();
        for (let i = 0; i < BATCHES_PER_SAMPLE; i++) await exchange();
        const after = await server.state();
        const messages = BATCHES_PER_SAMPLE * batch * receivers.length;
        samples.push(countsOf((key) => (after[key] - before[key]) / messages));
      }
      // A sample in which the collector ran has a wrong figure for memory: the median has not.
      return countsOf((key) => median(samples.map((counts) => counts[key])));
    };
    counts = await round();
    for (let i = 1; i < ROUNDS && exceeded(counts, scenario.limits).length > 0; i++) counts = await round();
  } finally {
    for (const connection of connections) connection.cut();
    server.child.kill('SIGTERM');
    [status] = await once(server.child, 'exit');
  }
  if (status !== 0) throw new Error(`${scenario.peer} ended with status ${status}`);
  return counts;
}

/** What is above its limit, or was not counted at all, as text. */
export function exceeded(counts: Counts, limits: Counts): string[] {
  return COUNTED.flatMap((key) => {
    if (!(counts[key] > 0)) return [`${key} were not counted at all`];
    return counts[key] > limits[key] ? [`${key}: ${counts[key]}, allowed ${limits[key]}`] : [];
  });
}

function countsOf(figure: (key: keyof Counts) => number): Counts {
  return { reads: figure('reads'), writes: figure('writes'), allocated: figure('allocated') };
}

/** A peer with an IPC channel, through which it tells how much memory it has in use. */
async function start(
  scenario: GateScenario,
): Promise<{ child: ChildProcess; port: number; state(): Promise<Counts> }> {
  // Such large halves of the young generation that most samples see no collection.
  const nodeFlags = ['--min-semi-space-size=128', '--max-semi-space-size=128'];
  const { file, args, env } = command(peerNamed(scenario.peer), {
    mode: scenario.mode,
    isStrict: true,
    answers: scenario.answers,
    answerSize: scenario.answers === 'stored' ? scenario.size : undefined,
    nodeFlags,
  });
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'], env });
  const port = await listeningPort(child, scenario.peer);
  return {
    child,
    port,
    async state() {
      const answer = once(child, 'message');
      child.send('memory');
      const [memory] = (await answer) as [{ heapUsed: number; arrayBuffers: number }];
      const { reads, writes } = systemCalls(child.pid!);
      return { reads, writes, allocated: memory.heapUsed + memory.arrayBuffers };
    },
  };
}

/** @param fail is told of any error, also later ones */
function connect(port: number, content: Content, fail: (error: Error) => void): Promise<Connection> {
  return new Promise((resolve) => {
    const options = { port, wire: 'websocket' as const, deflate: false };
    const connection = new Connection(content, options);
    connection.onOpen = () => resolve(connection);
    connection.onError = fail;
  });
}

/** Sends a batch and resolves when all receivers have it. */
function roundTrip(sender: Connection, receivers: Connection[], batch: number): Promise<void> {
  return new Promise((resolve) => {
    let left = receivers.length * batch;
    for (const receiver of receivers) {
      receiver.onMessages = (_, count) => {
        left -= count;
        if (left === 0) resolve();
      };
    }
    sender.send(batch);
  });
}

/**
 * The regression gate: what a message costs in system calls and in bytes allocated, counted in fixed
 * scenarios. Counts don't depend on how busy the machine is, so a test may insist on them.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { buildBench } from './build.ts';
import { Connection } from './load/connection.ts';
import { buildContent, type Content } from './load/content.ts';
import { systemCalls } from './proc.ts';
import { listeningPort } from './processes.ts';
import { command, peerNamed } from './roster.ts';

export interface Counts {
  /** Calls of read and write for each message, or each delivery of a broadcast. */
  reads: number;
  writes: number;
  /** Bytes allocated on the heap and as array buffers, for the same. */
  allocated: number;
}

export interface GateScenario {
  name: string;
  peer: 'tidings' | 'tidings-embedded';
  mode: 'echo' | 'broadcast';
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
  const content = buildContent('websocket', 'text', size, batch, false);
  const connections = await Promise.all(Array.from({ length: conns }, () => connect(server.port, content)));
  try {
    const [sender] = connections as [Connection];
    const receivers = mode === 'broadcast' ? connections : [sender];
    const exchange = () => roundTrip(sender, receivers, batch);
    for (let i = 0; i < WARM_BATCHES / Math.sqrt(conns); i++) await exchange();

    const round = async (): Promise<Counts> => {
      const samples: Counts[] = [];
      for (let sample = 0; sample < SAMPLES; sample++) {
        const before = await server.state();
        for (let i = 0; i < BATCHES_PER_SAMPLE; i++) await exchange();
        const after = await server.state();
        const messages = BATCHES_PER_SAMPLE * batch * receivers.length;
        samples.push({
          reads: (after.reads - before.reads) / messages,
          writes: (after.writes - before.writes) / messages,
          allocated: (after.allocated - before.allocated) / messages,
        });
      }
      // A sample in which the collector ran has a wrong figure for memory: the median has not.
      const middle = (key: keyof Counts) =>
        samples.map((counts) => counts[key]).sort((a, b) => a - b)[SAMPLES >> 1]!;
      return { reads: middle('reads'), writes: middle('writes'), allocated: middle('allocated') };
    };
    let counts = await round();
    for (let i = 1; i < ROUNDS && !isWithin(counts, scenario.limits); i++) counts = await round();
    return counts;
  } finally {
    for (const connection of connections) connection.cut();
    server.child.kill('SIGTERM');
    await once(server.child, 'exit');
  }
}

function isWithin(counts: Counts, limits: Counts): boolean {
  return (['reads', 'writes', 'allocated'] as const).every(
    (key) => counts[key] > 0 && counts[key] <= limits[key],
  );
}

interface State {
  reads: number;
  writes: number;
  allocated: number;
}

/** A peer with an IPC channel, through which it tells how much memory it has in use. */
async function start(
  scenario: GateScenario,
): Promise<{ child: ChildProcess; port: number; state(): Promise<State> }> {
  // Such large halves of the young generation that most samples see no collection.
  const nodeFlags = ['--min-semi-space-size=128', '--max-semi-space-size=128'];
  const { file, args, env } = command(peerNamed(scenario.peer), { mode: scenario.mode, nodeFlags });
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

function connect(port: number, content: Content): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const options = { port, wire: 'websocket' as const, deflate: false };
    const connection = new Connection(content, options);
    connection.onOpen = () => resolve(connection);
    connection.onError = reject;
  });
}

/** Sends a batch and resolves when all receivers have it. */
function roundTrip(sender: Connection, receivers: Connection[], batch: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = receivers.length * batch;
    for (const receiver of receivers) {
      receiver.onError = reject;
      receiver.onMessages = (_, count) => {
        left -= count;
        if (left === 0) resolve();
      };
    }
    sender.send(batch);
  });
}

/**
 * `npm run conformance`: runs the cases against a server's address, listens for clients, or, with neither, judges
 * tidings (or another peer) in both roles.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import {
  type CheckSettings,
  checkClients,
  checkServer,
  chosenCases,
  conclude,
  FuzzingServer,
  interruptible,
  notRun,
  Progress,
  quickPatterns,
  statusOf,
} from '../../src/check/index.ts';
import { typescript } from '../support/programs.ts';
import { peers } from './peers.ts';

const help = `Usage: npm run conformance -- [options] [ws://HOST:PORT/PATH]

Runs 517 WebSocket cases, numbered and judged as in the Autobahn test suite, and some beyond it (T.*).

With an address: against the server there, which must echo what it gets.
With --listen:   waits for clients that echo; they use /getCaseCount, /runCase?case=N&agent=A,
                 /getCaseInfo?case=N, /getCaseStatus?case=N&agent=A and /updateReports?agent=A.
With neither:    judges tidings, as a server and as a client.

Options:
  --listen PORT     wait for clients on this port (0: any that is free)
  --host ADDRESS    where to listen [127.0.0.1]
  --peer NAME       judge this peer instead of tidings: ${Object.keys(peers).join(', ')}
  --role ROLE       judge the peer only as server, or only as client
  --cases PATTERNS  such as 1.*,9.1.6 [all]
  --short           only the groups that take seconds: ${quickPatterns.join(',')}
  --parallel N      how many cases at a time [8]
  --messages N      how many messages each case of groups 12 and 13 sends [1000, as Autobahn]
  --patience N      factor on all time limits, of which Autobahn's are 1 [5]
  --agent NAME      what the report calls the server [its address]
  --outdir FOLDER   write index.json, index.html and a file per case there
  --http2           on streams of HTTP/2 (RFC 8441), all of one session
  --json            print JSON instead of tables, one line for each role
  -h, --help        this text

The exit status is 1 if a case failed, or, with tidings, if one did not pass. Ctrl-C ends with what there is
and status 130; a second one ends at once.
`;

class UsageError extends Error {}

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      listen: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      peer: { type: 'string', default: 'tidings' },
      role: { type: 'string' },
      cases: { type: 'string' },
      short: { type: 'boolean', default: false },
      parallel: { type: 'string', default: '8' },
      patience: { type: 'string', default: '5' },
      messages: { type: 'string', default: '1000' },
      agent: { type: 'string' },
      outdir: { type: 'string' },
      http2: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (positionals.length > 1) throw new UsageError('more than one address');
  return { ...values, address: positionals[0] };
}

function positive(text: string, name: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new UsageError(`${name} must be a positive number, not ${text}`);
  return number;
}

function startPeer(...args: string[]): ChildProcess {
  const program = join(fileURLToPath(import.meta.url), '../peers.ts');
  return spawn(process.execPath, [...typescript, program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

async function judgeServer(name: string, settings: CheckSettings): Promise<number> {
  const child = startPeer('server', name);
  try {
    const lines = createInterface({ input: child.stdout! });
    const [line] = (await Promise.race([
      once(lines, 'line'),
      once(child, 'exit').then(() => [`the server ${name} ended`]),
    ])) as [string];
    if (!line.startsWith('port ')) throw new Error(line);
    return await checkServer(`ws://127.0.0.1:${line.slice(5)}/`, { ...settings, agent: name });
  } finally {
    child.kill();
  }
}

async function judgeClient(name: string, signal: AbortSignal, settings: CheckSettings): Promise<number> {
  const definitions = chosenCases(settings);
  const { patience = 5, messages, http2 } = settings;
  const server = new FuzzingServer({ port: 0, cases: definitions, patience, messages, http2 });
  const progress = new Progress(name, definitions, settings.progress);
  server.on('start', (_agent, running) => progress.started(running));
  server.on('result', (result) => progress.finished(result));
  const { port } = await server.listen();
  const child = startPeer('client', name, `ws://127.0.0.1:${port}`, String(settings.parallel));
  try {
    const exited = once(child, 'exit') as Promise<[number | null]>;
    const interrupted = new Promise<'interrupted'>((resolve) => {
      signal.addEventListener('abort', () => resolve('interrupted'));
    });
    const end = await Promise.race([exited, interrupted]);
    progress.end();
    const results = server.resultsOf(name);
    const rest = notRun(definitions, progress);
    if (end === 'interrupted') {
      conclude('client', name, results, settings, rest);
      return statusOf(signal);
    }
    if (end[0] !== 0 || rest) {
      throw new Error(`the client ${name} ended after ${results.length} of ${definitions.length} cases`);
    }
    return conclude('client', name, results, settings);
  } finally {
    server.removeAllListeners();
    child.kill();
    await server.close();
  }
}

async function main(): Promise<number> {
  const options = parse();
  if (options.help) {
    process.stdout.write(help);
    return 0;
  }
  const settings: CheckSettings = {
    isShort: options.short,
    ...(options.cases !== undefined && { patterns: options.cases.split(',') }),
    parallel: positive(options.parallel, '--parallel'),
    patience: positive(options.patience, '--patience'),
    messages: positive(options.messages, '--messages'),
    ...(options.agent !== undefined && { agent: options.agent }),
    outdir: options.outdir,
    http2: options.http2,
    json: options.json,
    write: (text) => void process.stdout.write(text),
    progress: process.stderr,
  };
  const signal = interruptible();
  if (options.listen !== undefined) {
    return checkClients(Number(options.listen), options.host, signal, settings);
  }
  if (options.address !== undefined) return checkServer(options.address, { ...settings, signal });

  const peer = await peers[options.peer]?.();
  if (!peer)
    throw new UsageError(`no such peer: ${options.peer} (there are ${Object.keys(peers).join(', ')})`);
  const ofRole = (role: string): CheckSettings => ({
    ...settings,
    isStrict: options.peer.startsWith('tidings'),
    http2: peer.http2 ?? options.http2,
    outdir: settings.outdir && join(settings.outdir, `${role}s`),
  });
  let status = 0;
  if (peer.server && options.role !== 'client') {
    status = await judgeServer(options.peer, { ...ofRole('server'), signal });
  }
  if (peer.client && options.role !== 'server' && !signal.aborted) {
    status = Math.max(status, await judgeClient(options.peer, signal, ofRole('client')));
  }
  return status;
}

try {
  process.exitCode = await main();
} catch (error) {
  const { message } = error as Error;
  console.error(error instanceof UsageError ? `${message}\n\n${help}` : message);
  process.exitCode = 1;
}

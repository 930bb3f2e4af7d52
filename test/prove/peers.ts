/** `npm run prove`: `tidings prove` on servers of several kinds, and the table of them in docs/guarantees.md. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { type FaultKind, faultKinds, type ProveSettings, prove } from '../../src/prove/index.ts';
import { verdictLine } from '../../src/prove/report.ts';
import { machine } from '../chaos/report.ts';
import { freePort } from '../support/net.ts';
import { find, provide } from '../support/programs.ts';
import { kept, MARKERS, type Proof, type RunName, runNames, table } from './peers-table.ts';
import { command, redisCommand } from './servers/commands.ts';
import { nchanCommand } from './servers/nchan.ts';

const HELP = `usage: npm run prove -- [options]

Runs \`tidings prove\` on tidings, on server-sent events with a log, on nchan, on Socket.IO with both of its Redis adapters, and
on ws with Redis pub/sub: while connections break, while processes are killed and frozen as well, and with a page that
is away for many messages. Takes some ten minutes.

  --server WORD   only servers whose name has this word
  --time S        seconds of faults in each run (default 20)
  --away N        messages that a page is away for (default 1500)
  --seed N        of all runs (default 1)
  --json          the results as one JSON object, in place of a table
  --write         write docs/prove.json, and the table in docs/guarantees.md
  --help

Exit status 0: what comes out is no failure of this program.`;

const { values } = parseArgs({
  options: {
    server: { type: 'string' },
    time: { type: 'string', default: '20' },
    away: { type: 'string', default: '1500' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const [time, away, seed] = [whole(values.time), whole(values.away), whole(values.seed)];

function whole(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  console.error(`${text} is not a whole number\n\n${HELP}`);
  process.exit(2);
}

type Started = Pick<ProveSettings, 'urls' | 'run'> & Partial<ProveSettings>;

interface Server {
  name: string;
  adapter: string;
  /** How it is started: in a folder of its own. */
  start(folder: string): Promise<Started>;
}

const cli = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const programs = fileURLToPath(new URL(`dist/${process.pid}/`, import.meta.url));

const program = (name: string, ...args: (string | number)[]): string =>
  command(join(programs, `${name}.js`), ...args);
const addressOf = (port: number): string => `http://127.0.0.1:${port}/`;

const tidings = (port: number, ...more: string[]): string =>
  command(cli, 'serve', '--port', port, '--query-user', 'operator', ...more);
const serving = ['--admin-token', 'T', '--policy-port', 'off', '--drain', '1000', '--admin-rate', '0'];

/** Two instances and the Redis between them, which has written to its log what it has answered. */
async function pair(folder: string, instance: (port: number, store: string) => string): Promise<Started> {
  const [one, other, store] = await Promise.all([freePort(), freePort(), freePort()]);
  const url = `redis://127.0.0.1:${store}`;
  return {
    urls: [addressOf(one), addressOf(other)],
    run: [redisCommand(store, folder), instance(one, url), instance(other, url)],
  };
}

async function alone(instance: (port: number) => string): Promise<Started> {
  const port = await freePort();
  return { urls: [addressOf(port)], run: [instance(port)] };
}

const withRedis = async (folder: string): Promise<Started> => ({
  ...(await pair(folder, (port, store) => tidings(port, ...serving, '--redis', store))),
  token: 'T',
});

const servers: Server[] = [
  { name: 'tidings, two instances with Redis', adapter: 'tidings', start: withRedis },
  {
    name: 'tidings, one instance with its store in memory',
    adapter: 'tidings',
    start: async () => ({ ...(await alone((port) => tidings(port, ...serving))), token: 'T' }),
  },
  { name: 'tidings in plain mode, two instances with Redis', adapter: 'plain', start: withRedis },
  {
    name: 'server-sent events with `Last-Event-ID` and a log on disk (test/prove/servers/stream.ts)',
    adapter: 'sse',
    start: (folder) => alone((port) => program('stored-stream', port, join(folder, 'log'))),
  },
  {
    name: 'nchan, which keeps 1,000 messages of each channel in memory',
    adapter: 'nchan',
    start: (folder) => alone((port) => nchanCommand(folder, port, 1000)),
  },
  {
    name: 'Socket.IO with its Redis streams adapter and connection state recovery, two instances',
    adapter: 'socketio',
    start: (folder) => pair(folder, (port, store) => program('socketio', port, store, 'streams')),
  },
  {
    name: 'the same, one instance',
    adapter: 'socketio',
    start: async (folder) => {
      const { urls, run } = await pair(folder, (port, store) => program('socketio', port, store, 'streams'));
      return { urls: urls.slice(0, 1), run: run.slice(0, 2) };
    },
  },
  {
    name: 'Socket.IO with its Redis pub/sub adapter, two instances',
    adapter: 'socketio',
    start: (folder) => pair(folder, (port, store) => program('socketio', port, store, 'pubsub')),
  },
  {
    name: '`ws` with Redis pub/sub, two instances',
    adapter: 'ws',
    start: (folder) => pair(folder, (port, store) => program('ws-redis', port, store)),
  },
];

const lines = faultKinds.filter((kind) => !['kill', 'restart', 'freeze'].includes(kind));
const plans: Record<RunName, { time: number; away: number; kinds: FaultKind[] }> = {
  lines: { time, away: 0, kinds: lines },
  all: { time, away: 0, kinds: faultKinds },
  away: { time: 0, away, kinds: [] },
};

async function play(server: Server, run: RunName) {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  const { time, away, kinds } = plans[run];
  try {
    const result = await prove({
      send: undefined,
      token: undefined,
      secret: undefined,
      userParameter: 'operator',
      settings: {},
      users: 5,
      pages: 2,
      interval: 20,
      size: 120,
      patience: 30,
      allowKill: [],
      allowFreeze: [],
      restart: undefined,
      signal: new AbortController().signal,
      say: () => {},
      ...(await server.start(folder)),
      adapter: server.adapter,
      time,
      away,
      seed,
      kinds: new Set(kinds),
    });
    console.error(`${server.name}, ${run}: ${verdictLine(result)}`);
    return kept(result);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

provide(['redis', 'nginx', 'nchan']);
if (!existsSync(cli)) throw new Error('npm run build comes first');
mkdirSync(programs, { recursive: true });
process.on('exit', () => rmSync(programs, { recursive: true, force: true }));
await build({
  entryPoints: ['stored-stream', 'socketio', 'ws-redis'].map((name) =>
    fileURLToPath(new URL(`servers/${name}.ts`, import.meta.url)),
  ),
  outdir: programs,
  bundle: true,
  packages: 'external',
  format: 'esm',
  platform: 'node',
  target: 'es2023',
  logLevel: 'warning',
});

const { server: word } = values;
const chosen = servers.filter(
  ({ name, adapter }) => word === undefined || `${adapter} ${name}`.includes(word),
);
if (chosen.length === 0) throw new Error(`no server has the word ${word}`);
const needed = find('nchan') === undefined ? chosen.filter(({ adapter }) => adapter !== 'nchan') : chosen;
const proof: Proof = {
  date: new Date().toISOString(),
  machine: machine(),
  command: `npm run prove -- --time ${time} --away ${away} --seed ${seed}`,
  servers: [],
};
for (const server of needed) {
  const runs: Partial<Proof['servers'][number]['runs']> = {};
  for (const run of runNames) runs[run] = await play(server, run);
  proof.servers.push({
    name: server.name,
    adapter: server.adapter,
    runs: runs as Record<RunName, ReturnType<typeof kept>>,
  });
}
console.log(values.json ? JSON.stringify(proof) : `${table(proof)}\n\n${proof.machine}; ${proof.command}`);
if (values.write) {
  writeFileSync('docs/prove.json', `${JSON.stringify(proof, null, 1)}\n`);
  const page = readFileSync('docs/guarantees.md', 'utf8');
  const [before, rest] = page.split(MARKERS[0]) as [string, string];
  const [, after] = rest.split(MARKERS[1]) as [string, string];
  writeFileSync('docs/guarantees.md', `${before}${MARKERS[0]}\n\n${table(proof)}\n\n${MARKERS[1]}${after}`);
}
// Clients of servers that are gone may wait for another try.
process.exit(0);

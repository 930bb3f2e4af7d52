/** `npm run bench`: measures the rows that were asked for and prints them with their targets. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildBench } from './build.ts';
import { count, exceeded, gateScenarios } from './gate.ts';
import { benchHttp2 } from './http2.ts';
import { benchWindows } from './http2-windows.ts';
import { countLogins, LOGIN_LIMIT } from './logins.ts';
import { measureRow, type RowResult } from './measure.ts';
import { summarizeProfile } from './report/profile.ts';
import { publish } from './report/publish.ts';
import { describeMachine, formatRow, formatTargets } from './report/table.ts';
import { BASE } from './roster.ts';
import { allRows, broadcastRow, echoRow, handshakesRow, idleRow, type Row, shortRows } from './rows.ts';
import { median } from './statistics.ts';
import { checkTargets } from './targets.ts';
import { measureWorkers } from './workers.ts';

const HELP = `npm run bench -- [SCENARIO…] [options]

Measures server CPU per message of tidings and its peers, in interleaved rounds, and prints the ratios to ws.
gate [WORD…] counts system calls and allocations instead and exits with 1 if there are more than allowed;
with words, only in scenarios whose names have one of them.
workers measures what two workers of \`tidings serve\` carry, against one: by the CPU time of the busiest process at the same
load for each worker (--conns pages of each, default 500; --rounds, default 5; --time, default 5).
http2 compares WebSockets over TLS by HTTP/1.1 and on streams of HTTP/2, and the windows that these may have.
Without a scenario: all rows. SCENARIO: echo, broadcast, handshakes, idle, fanout, resp, codec, or a table:
  events           message events as with ws: what somebody gets who changes one import
  sends            what an application sends: in another turn, with callbacks, large, compressed
  scale            cost over connections
  push             a push server with Redis: messages, pages that stay, come back, and come and go

One row of one's own:
  --size N         payload bytes; K and M mean KiB and MiB
  --conns N        connections
  --depth N        messages outstanding per connection; broadcast: in flight in all
  --kind K         text (default), binary, utf8, json
  --deflate        with permessage-deflate
What runs:
  --peers A,B      only these; ws is always among them, twice: A/A is the noise
  --base DIR       also the tidings of another checkout, built, in the same rounds
  --rows ID,ID     only rows whose id contains one of these
  --rounds N       default 5
  --time S         seconds of each window, default 1.5
  --short          one small row of each scenario, once: proves that all runs, judges nothing
  --profile DIR    CPU profiles of the servers on Node, and where their time went
Output:
  --json           JSON on standard output instead of the table
  --report         also into docs/performance.json, .svg and .md; rows not run stay as they are
  --quiet          no progress on standard error

Exit status 1 if anything failed to run. A target that is not reached is no failure: time is not a test.
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: 'string' },
    conns: { type: 'string' },
    depth: { type: 'string' },
    kind: { type: 'string' },
    deflate: { type: 'boolean' },
    peers: { type: 'string' },
    rows: { type: 'string' },
    base: { type: 'string' },
    rounds: { type: 'string' },
    time: { type: 'string' },
    profile: { type: 'string' },
    short: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    report: { type: 'boolean', default: false },
    quiet: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
if (process.platform !== 'linux') {
  console.error('the benches read CPU time and memory from /proc: Linux only');
  process.exit(2);
}

const base = values.base === undefined ? undefined : resolve(values.base);
if (base !== undefined && values.report) wrong('--report is of one tidings, without --base');
await buildBench({ base });
if (positionals[0] === 'http2') {
  await benchHttp2(
    numberOf('rounds') ?? (values.short ? 1 : 5),
    numberOf('time') ?? (values.short ? 0.2 : 1.5),
    values.short,
  );
  await benchWindows(numberOf('rounds') ?? (values.short ? 1 : 5), values.short ? 2 : 32);
  process.exit();
}
if (positionals[0] === 'gate') process.exit(await runGate(positionals.slice(1)));
if (positionals[0] === 'workers') process.exit(await runWorkers());
const chosen = choose();
if (chosen.length === 0) {
  console.error('no row matches');
  process.exit(2);
}
const seconds = numberOf('time') ?? (values.short ? 0.3 : 1.5);
const options = {
  rounds: numberOf('rounds') ?? (values.short ? 1 : 5),
  warmup: values.short ? 100 : 700,
  duration: seconds * 1000,
  isShort: values.short,
  profile: values.profile,
  progress: values.quiet ? undefined : (text: string) => console.error(text),
};

const machine = describeMachine();
if (!values.json) console.log(machine.text);
const results: RowResult[] = [];
for (const row of chosen) {
  const result = await measureRow(row, options);
  results.push(result);
  // Row by row: a long run that is ended early has not been for nothing.
  if (values.report) publish([result], { rounds: options.rounds, seconds });
  if (!values.json) console.log(formatRow(result));
}
if (values.profile) {
  for (const { row, peers } of results) {
    for (const { name } of peers) {
      const folder = join(values.profile, row.id, name);
      if (existsSync(folder)) console.error(`\n${row.id} ${name}\n${summarizeProfile(folder)}`);
    }
  }
}
const targets = values.short ? [] : checkTargets(results);
if (values.json)
  console.log(
    JSON.stringify({ machine, options: { rounds: options.rounds, seconds }, results, targets }, null, 1),
  );
else if (targets.length > 0) console.log(formatTargets(targets));
const failed = results.flatMap(({ row, peers }) =>
  peers.filter((peer) => peer.failure).map((peer) => `${row.id}: ${peer.name}: ${peer.failure}`),
);
for (const line of failed) console.error(`failed: ${line}`);
process.exit(failed.length > 0 ? 1 : 0);

/** Returns the exit status. */
async function runGate(words: string[]): Promise<number> {
  let failures = 0;
  const chosen = gateScenarios.filter(
    ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
  );
  const name = 'logins: a session with an end';
  const countsLogins = words.length === 0 || words.some((word) => name.includes(word));
  if (chosen.length === 0 && !countsLogins) wrong('no scenario of the gate has such a name');
  for (const scenario of chosen) {
    const counts = await count(scenario);
    const over = exceeded(counts, scenario.limits);
    failures += over.length;
    const figures = `${counts.reads.toFixed(3)} reads, ${counts.writes.toFixed(3)} writes, ${counts.allocated.toFixed(0)} bytes allocated`;
    console.log(`${over.length === 0 ? 'ok  ' : 'OVER'}  ${scenario.name}: ${figures}`);
    for (const line of over) console.log(`      ${line}`);
  }
  if (countsLogins) {
    const { bytes, timers } = countLogins();
    const isOver = bytes > LOGIN_LIMIT || timers > 0;
    if (isOver) failures++;
    console.log(
      `${isOver ? 'OVER' : 'ok  '}  ${name}: ${bytes.toFixed(0)} bytes more than without, ${timers} timers`,
    );
    if (isOver) console.log(`      allowed are ${LOGIN_LIMIT} bytes and no timer`);
  }
  return failures > 0 ? 1 : 0;
}

async function runWorkers(): Promise<number> {
  const { one, two, ratio, spread } = await measureWorkers({
    pages: numberOf('conns') ?? (values.short ? 20 : 500),
    rate: values.short ? 200 : 2_000,
    rounds: numberOf('rounds') ?? (values.short ? 1 : 5),
    seconds: numberOf('time') ?? (values.short ? 0.5 : 5),
    progress: values.quiet ? undefined : (text) => console.error(text),
  });
  const figure = (carried: number[]): string =>
    `${Math.round(median(carried)).toLocaleString('en')} messages/s`;
  if (values.json) console.log(JSON.stringify({ one, two, ratio, spread }));
  else {
    console.log(`a full worker carries ${figure(one)}, two carry ${figure(two)}`);
    console.log(`2 workers ÷ 1: ${ratio.toFixed(2)} ± ${(spread * 100).toFixed(1)} % (target 1.9)`);
  }
  return 0;
}

function choose(): Row[] {
  const scenarios = positionals.length > 0 ? positionals : undefined;
  let list: Row[];
  if (values.size ?? values.conns ?? values.depth ?? values.kind ?? values.deflate)
    list = [ownRow(scenarios?.[0] ?? 'echo')];
  else if (values.short) list = shortRows;
  else list = allRows;
  if (scenarios) {
    list = list.filter((row) => scenarios.includes(row.table ?? row.scenario.split('-')[0]!));
  }
  if (values.rows) {
    const parts = values.rows.split(',');
    list = list.filter((row) => parts.some((part) => row.id.includes(part)));
  }
  if (values.peers) {
    const names = values.peers.split(',');
    list = list.map((row) => ({ ...row, peers: [...new Set([row.reference, ...names])] }));
  }
  if (values.base) {
    list = list.map((row) => ({
      ...row,
      peers: row.peers.flatMap((name) => (/^(tidings|push)/.test(name) ? [name, name + BASE] : [name])),
    }));
  }
  return list;
}

function ownRow(scenario: string): Row {
  const size = values.size ? sizeOf(values.size) : undefined;
  const kind = values.kind as Row['kind'] | undefined;
  const conns = numberOf('conns');
  const depth = numberOf('depth');
  const deflate = values.deflate;
  if (scenario === 'echo') return echoRow({ size: size ?? 125, kind, conns, depth, deflate });
  if (scenario === 'broadcast') return broadcastRow(conns ?? 1000, depth ?? 1, { size, kind, deflate });
  if (scenario === 'handshakes') return handshakesRow(depth ?? 64);
  if (scenario === 'idle') return idleRow(conns ?? 10_000, deflate ?? false);
  return wrong(`no row of one's own can be made for ${scenario}`);
}

function wrong(text: string): never {
  console.error(`${text}; see npm run bench -- --help`);
  process.exit(2);
}

function numberOf(name: 'time' | 'rounds' | 'conns' | 'depth'): number | undefined {
  const text = values[name];
  if (text === undefined) return undefined;
  return Number(text) > 0 ? Number(text) : wrong(`--${name} takes one number above 0, not ${text}`);
}

function sizeOf(text: string): number {
  const match = /^(\d+)([KM]?)$/i.exec(text);
  if (!match) return wrong(`--size takes a number of bytes, with K or M, not ${text}`);
  return Number(match[1]) * ({ K: 1024, M: 1024 * 1024 }[match[2]!.toUpperCase()] ?? 1);
}

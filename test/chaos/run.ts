/** `npm run chaos`: breaks things on purpose and counts what pages have lost. */
import { parseArgs } from 'node:util';
import { instanceProgram } from './instances.ts';
import { type Breakage, breakages, openPage } from './page.ts';
import { machine, summary, table } from './report.ts';
import { type Result, run } from './scenario.ts';
import { scenarios } from './scenarios/index.ts';
import type { System } from './stage.ts';
import { measureUnitCosts } from './unit-costs.ts';

/** Those that the peers are put through, too. */
const peerScenarios = [1, 3, 4, 6, 7];

const HELP = `usage: npm run chaos -- [options]

Starts real instances, a real Redis and real pages, publishes numbered messages with idempotency keys, breaks
something, and counts what each page has lost, seen twice or seen out of order. A message counts as promised once
its send has resolved.

  --scenario NAME,…  only these (names or numbers); default: all
  --short            the form that CI runs: fewer messages and faults
  --messages N       messages per scenario at the least (default 3000; with --short 300)
  --time S           seconds of the random scenario (default 60; with --short 8)
  --seed N           repeat the choices of a random scenario (default: chosen at random, and printed)
  --peer NAME        tidings (default), socket.io or socket.io-streams: without a promise of more than at most once,
                     of scenarios ${peerScenarios.join(', ')}
  --broken WHAT      break a guarantee on purpose, to see that losses are found: ${breakages.join(', ')}
  --json             the results as one JSON object
  --list             the scenarios
  --unit-costs       measures what a message and a channel cost Redis, for docs/guarantees.md
  --help

Exit status 1 on any message lost, duplicated or reordered, and on any gap that a page was not told of.`;

const { values } = parseArgs({
  options: {
    scenario: { type: 'string' },
    short: { type: 'boolean', default: false },
    messages: { type: 'string' },
    time: { type: 'string' },
    seed: { type: 'string' },
    broken: { type: 'string' },
    peer: { type: 'string', default: 'tidings' },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    'unit-costs': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
if (values.list) {
  for (const { number, name, expects, what } of scenarios)
    console.log(`${String(number ?? '').padStart(2)} ${name.padEnd(22)} ${expects.padEnd(9)} ${what}`);
  process.exit(0);
}

if (values['unit-costs']) {
  const costs = await measureUnitCosts();
  if (values.json) console.log(JSON.stringify({ machine: machine(), costs }));
  else {
    for (const { what, value, unit } of costs)
      console.log(`| ${what} | ${value.toFixed(unit === 'bytes' ? 0 : 1)} ${unit} |`);
    console.log(machine());
  }
  process.exit(0);
}

function wrong(text: string): never {
  console.error(`${text}\n\n${HELP}`);
  process.exit(2);
}

function count(name: 'messages' | 'time' | 'seed', fallback: number): number {
  const text = values[name];
  if (text === undefined) return fallback;
  const value = Number(text);
  return Number.isInteger(value) && value >= 0 ? value : wrong(`--${name} takes a whole number, not ${text}`);
}

const wanted = values.scenario?.split(',');
for (const one of wanted ?? []) {
  if (!scenarios.some(({ name, number }) => name === one || String(number) === one))
    wrong(`there is no scenario ${one} (see --list)`);
}
const isShort = values.short;
const chosen = scenarios.filter(({ name, number }) =>
  wanted === undefined
    ? values.peer === 'tidings' || peerScenarios.includes(number ?? 0)
    : wanted.includes(name) || wanted.includes(String(number)),
);
if (values.broken !== undefined && !breakages.includes(values.broken as Breakage))
  wrong(`--broken takes ${breakages.join(' or ')}`);

const tidings: System = { name: 'tidings', instance: instanceProgram, open: openPage };
const system = await systemNamed(values.peer);

async function systemNamed(name: string): Promise<System> {
  if (name === 'tidings') return tidings;
  if (name !== 'socket.io' && name !== 'socket.io-streams') wrong(`there is no peer ${name}`);
  const { socketIo } = await import('../../bench/chaos/socketio.ts');
  return socketIo(name === 'socket.io' ? 'pubsub' : 'streams');
}

const plan = {
  system,
  isShort,
  messages: count('messages', isShort ? 300 : 3000),
  time: count('time', isShort ? 8 : 60),
  seed: count('seed', Math.floor(Math.random() * 2 ** 31)),
  say: (text: string) => console.error(text),
  ...(values.broken !== undefined && { broken: values.broken as Breakage }),
};

if (!values.json) console.log(`${system.name}\n`);
const started = performance.now();
const results: Result[] = [];
const failed: string[] = [];
for (const scenario of chosen) {
  try {
    const result = await run(scenario, plan);
    results.push(result);
    if (result.failures.length > 0) failed.push(scenario.name);
    if (!values.json) console.log(summary(result));
  } catch (error) {
    failed.push(scenario.name);
    console.error(`${scenario.name} could not be played: ${error instanceof Error ? error.stack : error}`);
  }
}
const seconds = Math.round((performance.now() - started) / 1000);
if (values.json) {
  console.log(
    JSON.stringify({ system: system.name, machine: machine(), seed: plan.seed, seconds, results, failed }),
  );
} else {
  console.log(`\n${table(results)}\n\n${machine()}; ${seconds} s, seed ${plan.seed}`);
  console.log(failed.length === 0 ? 'all as promised' : `FAILED: ${failed.join(', ')}`);
}
// Sockets of pages that were cut may wait for their closing handshake.
process.exit(failed.length === 0 ? 0 : 1);

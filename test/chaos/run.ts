/** `npm run chaos`: breaks things on purpose and counts what pages have lost. */
import { parseArgs } from 'node:util';
import { runBeside } from './beside.ts';
import { type Breakage, breakages } from './page.ts';
import { machine, summary, table } from './report.ts';
import { type Result, run, storesOf } from './scenario.ts';
import { named, scenarios } from './scenarios/index.ts';
import type { Plan } from './stage.ts';
import { type StoreKind, storeKinds } from './store-target.ts';
import { measureUnitCosts } from './unit-costs.ts';

const HELP = `usage: npm run chaos -- [options]

Starts real instances, a real Redis or PostgreSQL and real pages, publishes numbered messages with idempotency keys, breaks
something, and counts what each page has lost, seen twice or seen out of order. A message counts as promised once
its send has resolved.

  --scenario NAME,…  only these (names or numbers); default: all
  --store NAME,…     what the instances share: ${storeKinds.join(', ')}. Several are played side by side. Default: redis,
                     postgres and memory; with --scenario or --broken, redis. With PostgreSQL, and without --scenario, only those
                     scenarios in which something is asked of the store; with a Cluster and with memory, all that can be
  --short            the form that CI runs: fewer messages and faults
  --messages N       messages per scenario at the least (default 3000; with --short 300)
  --time S           seconds of the random scenario (default 60; with --short 8)
  --seed N           repeat the choices of a random scenario (default: chosen at random, and printed)
  --broken WHAT      break a guarantee on purpose, to see that losses are found: ${breakages.join(', ')}
  --json             the results as one JSON object
  --list             the scenarios
  --unit-costs       measures what a message and a channel cost Redis, for docs/guarantees.md
  --help

Exit status 1 on any message lost, duplicated or reordered, and on any gap that a page was not told of.`;

const { values } = parseArgs({
  options: {
    scenario: { type: 'string' },
    store: { type: 'string' },
    short: { type: 'boolean', default: false },
    messages: { type: 'string' },
    time: { type: 'string' },
    seed: { type: 'string' },
    broken: { type: 'string' },
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
const isNarrow = values.scenario ?? values.broken ?? (values['unit-costs'] || values.list || undefined);
const stores = (values.store?.split(',') ??
  (isNarrow ? ['redis'] : ['redis', 'postgres', 'memory'])) as StoreKind[];
for (const one of stores)
  if (!storeKinds.includes(one)) wrong(`--store takes ${storeKinds.join(', ')}, not ${one}`);
if (stores.length > 1) {
  const at = process.argv.findIndex((arg) => arg.startsWith('--store'));
  const args = process.argv.slice(2);
  if (at !== -1) args.splice(at - 2, process.argv[at] === '--store' ? 2 : 1);
  process.exit(await runBeside(stores, args));
}
const [store] = stores as [StoreKind];
/** With this store, and called after it. */
const playable = scenarios
  .filter((scenario) => storesOf(scenario).includes(store))
  .map((scenario) => named(scenario, store));

if (values.list) {
  for (const { number, name, expects, what } of playable)
    console.log(`${String(number ?? '').padStart(2)} ${name.padEnd(25)} ${expects.padEnd(9)} ${what}`);
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
  if (!playable.some(({ name, number }) => name === one || String(number) === one))
    wrong(`there is no scenario ${one} with ${store} (see --list)`);
}
const isShort = values.short;
const chosen = playable.filter(({ name, number, happensTo }) =>
  wanted === undefined
    ? store !== 'postgres' || happensTo === undefined
    : wanted.includes(name) || wanted.includes(String(number)),
);
if (values.broken !== undefined && !breakages.includes(values.broken as Breakage))
  wrong(`--broken takes ${breakages.join(' or ')}`);

const plan: Plan = {
  store,
  isShort,
  messages: count('messages', isShort ? 300 : 3000),
  time: count('time', isShort ? 8 : 60),
  seed: count('seed', Math.floor(Math.random() * 2 ** 31)),
  say: (text: string) => console.error(text),
  ...(values.broken !== undefined && { broken: values.broken as Breakage }),
};

if (!values.json) console.log(`${store}\n`);
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
  console.log(JSON.stringify({ store, machine: machine(), seed: plan.seed, seconds, results, failed }));
} else {
  console.log(`\n${table(results)}\n\n${machine()}; ${seconds} s, seed ${plan.seed}`);
  console.log(failed.length === 0 ? 'all as promised' : `FAILED: ${failed.join(', ')}`);
}
// Sockets of pages that were cut may wait for their closing handshake.
process.exit(failed.length === 0 ? 0 : 1);

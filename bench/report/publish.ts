/**
 * `--report`: the results as docs/performance.json, their tables and targets within docs/performance.md, and
 * the chart. Rows that were not run keep what is there from before, so that a report can be made in parts.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { benchFolder } from '../build.ts';
import type { RowResult } from '../measure.ts';
import { allRows } from '../rows.ts';
import { type CheckedTarget, checkTargets } from '../targets.ts';
import { drawChart } from './chart.ts';
import { columns, describeMachine, type Machine, percent } from './table.ts';

const docs = join(benchFolder, '..', 'docs');
const paths = {
  json: join(docs, 'performance.json'),
  page: join(docs, 'performance.md'),
  chart: join(docs, 'performance.svg'),
};

interface Report {
  machine: Machine;
  /** Each row with the day and the form of its run. */
  results: (RowResult & { date: string; rounds: number; seconds: number })[];
}

export function publish(results: RowResult[], run: { rounds: number; seconds: number }): void {
  const date = new Date().toISOString().slice(0, 10);
  const merged = new Map(readReport().map((result) => [result.row.id, result]));
  for (const result of results) merged.set(result.row.id, { ...result, date, ...run });
  const order = allRows.map(({ id }) => id);
  const report: Report = {
    machine: describeMachine(),
    results: [...merged.values()]
      .filter(({ row }) => order.includes(row.id))
      .sort((a, b) => order.indexOf(a.row.id) - order.indexOf(b.row.id)),
  };
  writeFileSync(paths.json, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(paths.chart, drawChart(report.results));
  const page = readFileSync(paths.page, 'utf8');
  const places = {
    machine: machineText,
    events: eventTable,
    targets: targetTable,
    rows: rowTables,
  };
  const filled = Object.entries(places).reduce((text, [name, make]) => fill(text, name, make(report)), page);
  writeFileSync(paths.page, filled);
}

function readReport(): Report['results'] {
  return existsSync(paths.json) ? (JSON.parse(readFileSync(paths.json, 'utf8')) as Report).results : [];
}

/** Replaces what stands between the two comments of a name. */
function fill(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- bench: ${name} -->`, `<!-- end of ${name} -->`];
  const from = page.indexOf(start);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`docs/performance.md has no place for ${name}`);
  return `${page.slice(0, from + start.length)}\n${text}\n${page.slice(to)}`;
}

function machineText({ machine, results }: Report): string {
  const dates = new Map<string, number>();
  for (const { date } of results) dates.set(date, (dates.get(date) ?? 0) + 1);
  const days = [...dates].sort().map(([date, rows]) => `${rows} on ${date}`);
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory} GiB; Linux ${machine.kernel}, Node ${machine.node};`,
    `${versions.join(', ')}.`,
    `Rows measured: ${days.join(', ')}. Each says its day and its rounds.`,
  ].join('\n');
}

/** What changing one import brings: the rows with `message` events, each with its goal. */
function eventTable({ results }: Report): string {
  const own = results.filter(({ row }) => row.table === 'events');
  const goals = checkTargets(own);
  const lines = own.flatMap(({ row, peers, noise }) =>
    peers
      .filter(({ name, samples }) => name.startsWith('tidings') && samples.length > 0)
      .map((peer) => {
        const goal = goals.find((target) => target.row === row.id && target.peer === peer.name);
        const title = `${row.title.replace('events: echo ', '')}${peer.name === 'tidings' ? ', views to a handler' : ''}`;
        const verdict = goal === undefined ? '' : goal.reached ? 'reached' : '**not reached**';
        return `| ${title} | ${peer.ratio.toFixed(2)} | ${percent(peer.ratioSpread)} | ${percent(noise.median)} | ${goal?.claim.replace('ws ÷ own ', '') ?? ''} | ${verdict} |`;
      }),
  );
  return ['| | ws ÷ own | ± | noise | goal | |', '|---|--:|--:|--:|--:|---|', ...lines].join('\n');
}

function targetTable({ results }: Report): string {
  const checked = checkTargets(results);
  const reached = checked.filter((target) => target.reached).length;
  const line = ({ row, peer, claim, value, reached: isReached }: CheckedTarget) => {
    const title = results.find((result) => result.row.id === row)?.row.title ?? row;
    return `| ${title} | ${peer} | ${claim} | ${value} | ${isReached ? 'reached' : '**not reached**'} |`;
  };
  return [
    `${reached} of ${checked.length} reached.`,
    '',
    '| row | server | target | measured | |',
    '|---|---|---|---|---|',
    ...checked.map(line),
  ].join('\n');
}

function rowTables({ results }: Report): string {
  return results.map(rowTable).join('\n\n');
}

function rowTable(result: Report['results'][number]): string {
  const all = columns(result);
  const lines = result.peers.map((peer) => {
    const cells =
      peer.samples.length > 0
        ? all.map(([, cell]) => cell(peer))
        : [`failed: ${peer.failure?.split('\n')[0]}`];
    return `| ${peer.name} | ${cells.join(' | ')} |`;
  });
  const missing = result.notRun.map(({ name, why }) => `Not run: ${name} (${why}).`);
  return [
    `### ${result.row.title[0]!.toUpperCase()}${result.row.title.slice(1)}`,
    '',
    `\`${result.row.id}\`; ${result.date}, ${result.rounds} ${result.rounds === 1 ? 'round' : 'rounds'}; noise (A/A): ${percent(result.noise.median)}, worst round ${percent(result.noise.worst)}`,
    '',
    `| | ${all.map(([heading]) => heading).join(' | ')} |`,
    `|---|${all.map(() => '--:').join('|')}|`,
    ...lines,
    ...(missing.length > 0 ? ['', ...missing] : []),
  ].join('\n');
}

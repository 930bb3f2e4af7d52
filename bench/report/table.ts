/** The table on the terminal. */
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { benchFolder } from '../build.ts';
import { type PeerResult, type RowResult, ratiosTo } from '../measure.ts';
import { BASE } from '../roster.ts';
import type { Sample } from '../scenarios/scenario.ts';
import { median, spread } from '../statistics.ts';
import type { CheckedTarget } from '../targets.ts';

export interface Machine {
  text: string;
  cpu: string;
  cores: number;
  /** GiB. */
  memory: number;
  kernel: string;
  node: string;
  /** Peer → version. */
  versions: Record<string, string>;
}

export function describeMachine(): Machine {
  const versions: Record<string, string> = {};
  const { dependencies } = JSON.parse(readFileSync(join(benchFolder, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  for (const name of Object.keys(dependencies)) {
    try {
      const manifest = readFileSync(join(benchFolder, 'node_modules', name, 'package.json'), 'utf8');
      versions[name] = (JSON.parse(manifest) as { version: string }).version;
    } catch {
      // Not installed: the rows say so.
    }
  }
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memory: Math.round(totalmem() / 2 ** 30),
    kernel: release().split('-')[0]!,
    node: process.version,
    versions,
  };
  const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return {
    ...machine,
    text: `${machine.cpu}, ${machine.cores} cores, ${machine.memory} GiB, Linux ${machine.kernel}, Node ${machine.node}; ${peers.join(', ')}`,
  };
}

/** Columns after the name: heading and how a peer's figure is written. */
type Column = [heading: string, cell: (peer: PeerResult) => string];

const COST_HEADINGS = { µs: 'CPU µs', ns: 'CPU ns', KiB: 'KiB/conn', kB: 'kB/page' };

/** Those that the row has figures for. */
export function columns({ row, peers }: RowResult): Column[] {
  const all: [key: keyof Sample, heading: string, cell: (value: number) => string][] = [
    ['allocated', 'bytes allocated', (value) => value.toFixed(0)],
    ['redis', 'Redis µs', figure],
    ['roundTrips', 'Redis asked', (value) => value.toFixed(1)],
    ['uncollected', 'uncollected', figure],
    ['idle', 'idle: µs/10 s', figure],
    ['redisIdle', 'Redis: µs/10 s', figure],
    ['redisMemory', 'Redis: bytes', (value) => value.toFixed(0)],
    ['system', 'kernel', percent],
    [
      'rate',
      row.scenario === 'broadcast' ? 'deliveries/s' : 'per second',
      (value) => Math.round(value).toLocaleString('en'),
    ],
    ['p50', 'p50 µs', (value) => (value * 1000).toFixed(0)],
    ['p99', 'p99 µs', (value) => (value * 1000).toFixed(0)],
    ['memory', 'RSS MiB', (value) => value.toFixed(0)],
    ['generator', 'generator', percent],
  ];
  const known = all.filter(([key]) => peers.some(({ median }) => median[key] !== undefined));
  return [
    [COST_HEADINGS[row.unit], ({ median }) => figure(median.cost)],
    ['±', ({ spread }) => percent(spread)],
    [`${row.reference} ÷`, ({ ratio }) => (Number.isFinite(ratio) ? ratio.toFixed(2) : '–')],
    ['±', ({ ratioSpread }) => percent(ratioSpread)],
    ...known.map(
      ([key, heading, cell]): Column => [
        heading,
        ({ median }) => (median[key] === undefined ? '–' : cell(median[key])),
      ],
    ),
  ];
}

/** Three digits, without an exponent. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}

export function formatRow(result: RowResult): string {
  const { row, peers, noise, notRun } = result;
  const all = columns(result);
  const cells = [
    ['', ...all.map(([heading]) => heading)],
    ...peers.map((peer) =>
      peer.samples.length === 0
        ? [peer.name, `failed: ${peer.failure}`]
        : [peer.name, ...all.map(([, cell]) => cell(peer))],
    ),
  ];
  const widths = cells[0]!.map((_, column) =>
    Math.max(...cells.filter((line) => line.length > 2).map((line) => line[column]!.length)),
  );
  const lines = cells.map((line) =>
    line
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column] ?? 0)))
      .join('  '),
  );
  const missing = notRun.map(({ name, why }) => `  not run: ${name}: ${why}`);
  const compared = peers.flatMap((own) => {
    const base = peers.find(({ name }) => name === own.name + BASE);
    if (!base) return [];
    const all = ratiosTo(base, own);
    return [`  ${own.name}: base ÷ own ${median(all).toFixed(3)} ± ${percent(spread(all))}`];
  });
  return [
    '',
    `${row.title}   [${row.id}]   noise (A/A): ${percent(noise.median)}, worst round ${percent(noise.worst)}`,
    ...lines.map((line) => `  ${line}`),
    ...compared,
    ...missing,
  ].join('\n');
}

export function formatTargets(targets: CheckedTarget[]): string {
  const reached = targets.filter((target) => target.reached).length;
  const lines = targets.map(
    (target) =>
      `  ${target.reached ? 'reached    ' : 'NOT REACHED'}  ${target.row}  ${target.peer}: ${target.claim}: ${target.value}`,
  );
  return ['', `targets: ${reached} of ${targets.length} reached`, ...lines].join('\n');
}

export function percent(part: number): string {
  return Number.isFinite(part) ? `${(part * 100).toFixed(part < 0.095 ? 1 : 0)} %` : '–';
}

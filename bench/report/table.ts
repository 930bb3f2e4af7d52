/** The table on the terminal. */
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { benchFolder } from '../build.ts';
import type { PeerResult, RowResult } from '../measure.ts';
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

export function columns({ row }: RowResult): Column[] {
  const cost: Column[] = [
    [row.unit === 'KiB' ? 'KiB/conn' : 'CPU µs', ({ median }) => median.cost.toPrecision(3)],
    ['±', ({ spread }) => percent(spread)],
    [`${row.reference} ÷`, ({ ratio }) => ratio.toFixed(2)],
    ['±', ({ ratioSpread }) => percent(ratioSpread)],
  ];
  if (row.unit === 'KiB') return [...cost, ['RSS MiB', ({ median }) => median.memory.toFixed(0)]];
  return [
    ...cost,
    ['kernel', ({ median }) => percent(median.system)],
    [
      row.scenario === 'broadcast' ? 'deliveries/s' : 'per second',
      ({ median }) => Math.round(median.rate).toLocaleString('en'),
    ],
    ['p50 µs', ({ median }) => (median.p50 * 1000).toFixed(0)],
    ['p99 µs', ({ median }) => (median.p99 * 1000).toFixed(0)],
    ['RSS MiB', ({ median }) => median.memory.toFixed(0)],
    ['generator', ({ median }) => percent(median.generator)],
  ];
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
  return [
    '',
    `${row.title}   [${row.id}]   noise (A/A): ${percent(noise.median)}, worst round ${percent(noise.worst)}`,
    ...lines.map((line) => `  ${line}`),
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

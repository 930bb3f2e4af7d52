/** What instances say of themselves, as a table for people: one row for each, and one for all. */
import { printable } from '../push/explain.ts';
import type { Stats } from '../push/watch/stats.ts';

/** What `GET /api/instances` says of one; the last ones are not there where an instance is older. */
export interface Report extends Stats {
  /** Milliseconds since 1970 by its own clock: when it said so, and when its process has started. */
  time?: number;
  started?: number;
  ready?: boolean;
  reason?: string;
  slowSessions?: number;
  outboxBytes?: number;
  receivedFrames?: number;
  sentFrames?: number;
  deliveries?: number;
  refusals?: Record<string, number>;
  cpuSeconds?: number;
  memoryBytes?: number;
  loopDelay?: number;
}

export interface Look {
  reports: Report[];
  /** Milliseconds, of a clock that is never set. */
  at: number;
}

/** What is summed; the rest says something of one instance. */
const SUMS = ['sessions', 'channels', 'published', 'opened', 'storeFaults'] as const;

/** The counts of all together, as `GET /api/stats` has them of one. */
export function totalOf(reports: readonly Report[]): Omit<Stats, 'instance'> {
  const total = { storeAway: false, draining: false } as Omit<Stats, 'instance'>;
  for (const name of SUMS) total[name] = reports.reduce((sum, report) => sum + report[name], 0);
  total.storeAway = reports.some(({ storeAway }) => storeAway);
  total.draining = reports.length > 0 && reports.every(({ draining }) => draining);
  return total;
}

/** Of one report, or summed. NaN: it is not known yet. Undefined: the instance does not say it. */
type Cell = (report: Report, before: Report | undefined, seconds: number) => number | undefined;

const perSecond =
  (name: 'published' | 'deliveries' | 'opened' | 'receivedFrames' | 'cpuSeconds'): Cell =>
  (report, before, seconds) => {
    const [now, then] = [report[name], before?.[name]];
    if (now === undefined) return undefined;
    // Of a process that was started again, nothing is known yet.
    return then === undefined || now < then ? Number.NaN : (now - then) / seconds;
  };

const COLUMNS: [title: string, cell: Cell, show: (value: number) => string, join: 'sum' | 'most'][] = [
  ['sessions', ({ sessions }) => sessions, count, 'sum'],
  ['new/s', perSecond('opened'), rate, 'sum'],
  ['stored/s', perSecond('published'), rate, 'sum'],
  ['to pages/s', perSecond('deliveries'), rate, 'sum'],
  ['from pages/s', perSecond('receivedFrames'), rate, 'sum'],
  ['slow', ({ slowSessions }) => slowSessions, count, 'sum'],
  ['waiting', ({ outboxBytes }) => outboxBytes, bytes, 'sum'],
  ['CPU', perSecond('cpuSeconds'), (value) => `${Math.round(value * 100)} %`, 'sum'],
  ['memory', ({ memoryBytes }) => memoryBytes, bytes, 'sum'],
  ['late by', ({ loopDelay }) => loopDelay, (value) => `${Math.round(value)} ms`, 'most'],
  [
    'up',
    ({ started, time }) => (started === undefined || time === undefined ? undefined : time - started),
    duration,
    'most',
  ],
];

export function fleetTable(now: Look, before: Look | undefined): string[] {
  const reports = [...now.reports].sort((a, b) => (a.instance < b.instance ? -1 : 1));
  const rows = reports.map((report) => {
    const earlier = before?.reports.find(({ instance }) => instance === report.instance);
    const seconds = before === undefined ? 1 : secondsBetween(report, earlier, now.at - before.at);
    return COLUMNS.map(([, cell]) => cell(report, earlier, seconds));
  });
  const shown = COLUMNS.map((_, i) => i).filter((i) => rows.some((row) => row[i] !== undefined));
  const all = COLUMNS.map(([, , , join], i) => {
    const known = rows.map((row) => row[i] ?? Number.NaN).filter((value) => !Number.isNaN(value));
    if (known.length === 0) return undefined;
    return join === 'sum' ? known.reduce((a, b) => a + b, 0) : Math.max(...known);
  });
  const line = (name: string, row: (number | undefined)[], state: string): string[] => [
    name,
    ...shown.map((i) => (Number.isNaN(row[i] ?? Number.NaN) ? '-' : COLUMNS[i]![2](row[i]!))),
    state,
  ];
  const table = [
    ['instance', ...shown.map((i) => COLUMNS[i]![0]), 'state'],
    ...reports.map((report, i) => line(printable(report.instance), rows[i]!, stateOf(report))),
    ...(reports.length > 1 ? [line(`all ${reports.length}`, all, '')] : []),
  ];
  const widths = table[0]!.map((_, i) => Math.max(...table.map((row) => row[i]!.length)));
  return table.map((row) =>
    row
      .map((text, i) =>
        i === 0 || i === row.length - 1 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!),
      )
      .join('  ')
      .trimEnd(),
  );
}

/** Refusals by reason, of all; none where there was none. */
export function refusalsLine(now: Look, before: Look | undefined): string | undefined {
  const sums = new Map<string, { all: number; fresh: number }>();
  for (const report of now.reports) {
    const earlier = before?.reports.find(({ instance }) => instance === report.instance)?.refusals;
    for (const [reason, number] of Object.entries(report.refusals ?? {})) {
      const { all, fresh } = sums.get(reason) ?? { all: 0, fresh: 0 };
      const more = before === undefined ? 0 : Math.max(0, number - (earlier?.[reason] ?? 0));
      sums.set(reason, { all: all + number, fresh: fresh + more });
    }
  }
  if (sums.size === 0) return undefined;
  const most = [...sums].sort(([, a], [, b]) => b.all - a.all);
  return `refused: ${most.map(([reason, { all, fresh }]) => `${printable(reason)} ${count(all)}${fresh > 0 ? ` (+${fresh})` : ''}`).join(', ')}`;
}

function secondsBetween({ time }: Report, before: Report | undefined, elsewhere: number): number {
  const own = time !== undefined && before?.time !== undefined ? time - before.time : elsewhere;
  return (own > 0 ? own : elsewhere) / 1000 || 1;
}

function stateOf({ ready, reason, storeAway, storeFaults, draining }: Report): string {
  const states = [
    ...(draining ? ['draining'] : []),
    ...(storeAway ? ['store away'] : []),
    ...(storeFaults > 0 ? [`${storeFaults} store faults`] : []),
  ];
  if (states.length === 0 && ready === false) return `not ready${reason ? `: ${printable(reason)}` : ''}`;
  return states.join(', ') || 'ready';
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

function rate(value: number): string {
  return value >= 100 ? count(Math.round(value)) : value === 0 ? '0' : value.toFixed(1);
}

function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  let shown = value;
  for (; shown >= 1000 && unit < units.length - 1; unit++) shown /= 1024;
  return `${unit === 0 || shown >= 10 ? Math.round(shown) : shown.toFixed(1)} ${units[unit]}`;
}

/** @param ms milliseconds */
function duration(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

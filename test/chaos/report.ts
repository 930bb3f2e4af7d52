/** How results are shown. */
import { cpus } from 'node:os';
import type { Result } from './scenario.ts';

export function machine(): string {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model.trim() ?? 'unknown CPU'}, Node ${process.versions.node}, ${process.platform}`;
}

const COLUMNS: [title: string, cell: (result: Result) => string][] = [
  ['#', ({ number }) => String(number ?? '')],
  ['scenario', ({ scenario }) => scenario],
  ['messages', ({ messages }) => String(messages)],
  ['to be seen', ({ promised }) => String(promised)],
  ['lost', ({ lost }) => String(lost)],
  ['duplicated', ({ duplicated }) => String(duplicated)],
  ['reordered', ({ reordered }) => String(reordered)],
  ['gaps told', ({ gaps }) => String(gaps)],
  ['missing, told', ({ told }) => String(told)],
  ['retries', ({ retries }) => String(retries)],
  ['recovery', ({ recovery }) => (recovery === undefined ? '' : `${(recovery / 1000).toFixed(1)} s`)],
];

/** A Markdown table, aligned. */
export function table(results: Result[]): string {
  const rows = results.map((result) => COLUMNS.map(([, cell]) => cell(result)));
  const titles = COLUMNS.map(([title]) => title);
  const widths = titles.map((title, i) => Math.max(2, title.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: string[]): string =>
    `| ${cells.map((cell, i) => (i === 1 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 1 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(titles), rule, ...rows.map(line)].join('\n');
}

/** One line for the progress of a run. */
export function summary(result: Result): string {
  const { scenario, messages, promised, lost, duplicated, reordered, gaps, told, resent, recovery } = result;
  const parts = [
    `${messages} messages`,
    `${promised} to be seen`,
    `${lost} lost`,
    `${duplicated} duplicated`,
    `${reordered} reordered`,
    `${gaps} gaps told (${told} messages)`,
  ];
  if (resent > 0) parts.push(`${resent} sent again after a loss`);
  if (recovery !== undefined) parts.push(`recovery ${(recovery / 1000).toFixed(1)} s`);
  const verdict = result.failures.length === 0 ? 'ok' : `FAILED: ${result.failures.join('; ')}`;
  return [`${scenario}: ${verdict}`, parts.join(', '), ...result.notes].join('\n  ');
}

/** The table of servers in docs/guarantees.md, made of what `tidings prove` has said of each: docs/prove.json. */
import type { Result } from '../../src/prove/index.ts';

/** What is kept of a result: all but what is of one run alone. */
export type Kept = Omit<Result, 'findings' | 'timeline' | 'urls' | 'run' | 'started'>;

export interface Proof {
  /** ISO date. */
  date: string;
  machine: string;
  /** The command that has made it. */
  command: string;
  servers: {
    name: string;
    /** The adapter. */
    adapter: string;
    runs: Record<RunName, Kept>;
  }[];
}

/** `lines`: connections break; `all`: so do processes; `away`: a page misses many messages in one go. */
export const runNames = ['lines', 'all', 'away'] as const;
export type RunName = (typeof runNames)[number];

export function kept({ findings, timeline, urls, run, started, ...rest }: Result): Kept {
  return rest;
}

/** Whether the docs' markers stand around it. */
export const MARKERS = [
  '<!-- what tidings prove says: npm run prove -- --write -->',
  '<!-- until here -->',
] as const;

export function table({ servers }: Proof): string {
  const heads = ['server', 'connections break', 'and processes are killed and frozen', 'a page is away'];
  const rows = servers.map(({ name, runs }) => [name, ...runNames.map((run) => cell(runs[run]))]);
  return [heads, heads.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const number = (n: number): string => n.toLocaleString('en');

function cell(result: Kept): string {
  const { lost, toBeSeen, duplicated, reordered, told, notBack, damaged, misdelivered, verdict } = result;
  const parts = [`${number(lost)} lost of ${number(toBeSeen)}`];
  const add = (n: number, what: string): void => {
    if (n > 0) parts.push(`${number(n)} ${what}`);
  };
  add(duplicated, 'twice');
  add(reordered, 'reordered');
  add(told.messages, 'told');
  add(told.inVain, told.inVain === 1 ? 'time told in vain' : 'times told in vain');
  add(damaged, 'damaged');
  add(misdelivered, 'misdelivered');
  add(notBack.length, notBack.length === 1 ? 'page not back' : 'pages not back');
  return verdict === 'passed' ? `**passed**: ${parts.join(', ')}` : parts.join(', ');
}

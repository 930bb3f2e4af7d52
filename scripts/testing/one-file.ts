/** Runs one test file as a process of its own, and says what became of it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

/** Milliseconds after which a file that has not ended has failed. */
const LIMIT = 10 * 60_000;
/** What Node starts with, as seen from the folder of the sources. */
const NODE = [
  ...['--expose-internals', '--import', './scripts/typescript.mjs'],
  ...['--test-reporter', './scripts/testing/events.mjs'],
];

/** What events.mjs writes. */
interface TestEvent {
  type: 'dequeue' | 'complete' | 'start' | 'pass' | 'fail' | 'diagnostic' | 'late';
  name: string;
  nesting: number;
  line?: number;
  column?: number;
  skip?: string | true;
  todo?: string | true;
  suite: boolean;
  message?: string;
  failure?: string;
  error?: string;
}

export interface Failure {
  /** The test with its suites, outermost first; empty where it is the process that failed. */
  names: string[];
  line: number | undefined;
  error: string;
}

export interface Outcome {
  file: string;
  seconds: number;
  passed: number;
  failures: Failure[];
  /** Why tests did not run, each with how many. */
  skipped: Map<string, number>;
  /** All that the process wrote to standard output and standard error, in order. */
  output: string;
}

/** Where a file runs that does not run as we do. */
export interface Elsewhere {
  /** With the sources. */
  folder: string;
  node: string;
  /** Of whom the process is. */
  owner?: { uid: number; gid: number } | undefined;
}

/**
 * @param env the environment of the process; it may keep what it starts, which is ended with it
 * @param givesWay to others that want the processor
 */
export async function runFile(
  file: string,
  env: NodeJS.ProcessEnv,
  { limit = LIMIT, place, givesWay }: { limit?: number; place?: Elsewhere; givesWay?: boolean } = {},
): Promise<Outcome> {
  const began = performance.now();
  const notes = mkdtempSync(join(tmpdir(), 'tidings-test-'));
  const [events, output] = [join(notes, 'events'), join(notes, 'output')];
  const log = openSync(output, 'a');
  // A group of its own: what a test has left running is ended with it.
  const { folder, node, owner }: Elsewhere = place ?? { folder: resolve('.'), node: process.execPath };
  if (owner !== undefined) chownSync(notes, owner.uid, owner.gid);
  const child = spawn(node, [...NODE, resolve(folder, file)], {
    ...owner,
    cwd: folder,
    detached: true,
    stdio: ['ignore', log, log],
    env: {
      ...env,
      TEST_EVENTS: events,
      TEST_ENDS: String(Date.now() + 0.9 * limit),
      NODE_TEST_CONTEXT: undefined,
    },
  });
  running.add(child);
  if (givesWay) giveWay(child.pid);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    end(child);
  }, limit);
  const [status, signal] = await new Promise<[number | null, string | null]>((done) => {
    child.once('error', () => done([null, null]));
    child.once('exit', (code, by) => done([code, by]));
  });
  clearTimeout(timer);
  end(child);
  running.delete(child);
  closeSync(log);
  const told = read(events)
    .split('\n')
    .flatMap((line) => parsed(line));
  const outcome = summary(file, told);
  outcome.output = read(output);
  rmSync(notes, { recursive: true, force: true });

  const how = late ? `did not end within ${limit / 1000} s and was ended` : ended(status, signal);
  const isCut = late || signal !== null || underWay(told).length > 0;
  if (isCut || (how !== 'ended with status 0' && outcome.failures.length === 0)) {
    const hint = late && !told.some(({ type }) => type === 'late') ? ['its event loop stood still'] : [];
    outcome.failures.push({ names: [], line: undefined, error: [whatWasOn(how, told), ...hint].join('\n') });
  } else if (outcome.passed + outcome.failures.length + outcome.skipped.size === 0) {
    outcome.failures.push({ names: [], line: undefined, error: 'the file has no test' });
  }
  outcome.seconds = (performance.now() - began) / 1000;
  return outcome;
}

/** Less of a processor's time than others get that want it, too: a third. */
function giveWay(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, 5);
    // The group is a session of its own: Linux shares time between sessions before it shares it within one.
    writeFileSync(`/proc/${pid}/autogroup`, '5');
  } catch {
    // It has ended, or the system knows no such thing.
  }
}

const running = new Set<ChildProcess>();

/** Ends what runs, with all that it has started: for a run that is interrupted. */
export function endAll(): void {
  for (const child of running) end(child);
}

function end(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  } catch {
    // Nobody of the group is left.
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** An event; none where a process that was killed has left half of a line. */
function parsed(line: string): TestEvent[] {
  try {
    return [JSON.parse(line) as TestEvent];
  } catch {
    return [];
  }
}

function ended(status: number | null, signal: string | null): string {
  if (signal !== null) return `was ended by ${signal}`;
  return status === null ? 'could not be started' : `ended with status ${status}`;
}

/** What events say of the tests: how many, and which have failed. */
function summary(file: string, events: TestEvent[]): Outcome {
  const outcome: Outcome = { file, seconds: 0, passed: 0, failures: [], skipped: new Map(), output: '' };
  const path: string[] = [];
  for (const { type, name, nesting, line, skip, todo, suite, failure, error } of events) {
    if (type === 'start') path.splice(nesting, Infinity, name);
    else if (type === 'fail' && todo === undefined && failure !== 'subtestsFailed') {
      const names = [...path.slice(0, nesting), name];
      outcome.failures.push({ names, line, error: error ?? failure ?? 'failed' });
    } else if (type === 'pass' && skip !== undefined) {
      const reason = skip === true ? 'no reason given' : skip;
      outcome.skipped.set(reason, (outcome.skipped.get(reason) ?? 0) + 1);
    } else if (type === 'pass' && !suite) outcome.passed++;
  }
  return outcome;
}

/** The tests that have begun and not ended, each with its line. */
function underWay(events: TestEvent[]): string[] {
  const on = new Map<string, string>();
  for (const { type, name, nesting, line, column } of events) {
    const test = `${nesting} ${line} ${column} ${name}`;
    if (type === 'dequeue') on.set(test, `${name} (line ${line})`);
    if (type === 'complete') on.delete(test);
  }
  return [...on.values()];
}

/** @param how it ended; which tests were under way then, and what Node itself had to say */
function whatWasOn(how: string, events: TestEvent[]): string {
  const tests = underWay(events);
  const began = events.some(({ type }) => type === 'dequeue');
  const meanwhile =
    tests.length > 0
      ? `while this was under way:\n${tests.map((name) => `  ${name}`).join('\n')}`
      : began
        ? 'after the last of its tests: something keeps the process up, or goes wrong after them'
        : 'before its first test';
  const said = events
    .filter(
      ({ type, nesting, message = '' }) =>
        type === 'late' || (type === 'diagnostic' && nesting === 0 && /^(?:Error|Warning)/.test(message)),
    )
    .map(({ message }) => message);
  return [`the process ${how}, ${meanwhile}`, ...said].join('\n');
}

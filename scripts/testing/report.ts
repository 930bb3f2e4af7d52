/**
 * What a run says: a line for each file as it ends, and at the end all that failed, and all that did not run. A file that
 * failed and passes when it is run again is unsteady: what failed is shown, too.
 */
import type { Failure, Outcome } from './one-file.ts';

/** The most lines of a file's own output that a failure shows: the last ones. */
const OUTPUT = 100;

export class Report {
  readonly #outcomes = new Map<string, Outcome>();
  /** What became at first of files that have passed since. */
  readonly #unsteady: Outcome[] = [];
  readonly #began = performance.now();
  readonly #all: number;
  readonly #running = new Set<string>();
  readonly #isTerminal = process.stdout.isTTY === true && process.env.CI !== 'true';

  /** @param all how many files there will be */
  constructor(all: number) {
    this.#all = all;
  }

  began(file: string): void {
    this.#running.add(file);
    this.#progress();
  }

  ended(outcome: Outcome): void {
    const first = this.#outcomes.get(outcome.file);
    if (first !== undefined && outcome.failures.length === 0) this.#unsteady.push(first);
    this.#outcomes.set(outcome.file, outcome);
    this.#running.delete(outcome.file);
    const { file, seconds, passed, failures, skipped } = outcome;
    const notRun = sum(skipped.values());
    const counts = [
      failures.length > 0 ? `${failures.length} failed` : '',
      passed > 0 ? `${passed} passed` : '',
      notRun > 0 ? `${notRun} not run` : '',
    ];
    const state = failures.length > 0 ? 'not ok' : 'ok    ';
    this.#say(`${state} ${file} (${counts.filter(Boolean).join(', ')}, ${seconds.toFixed(1)} s)`);
    this.#progress();
  }

  /** The files of which a test failed. */
  get failed(): string[] {
    return [...this.#outcomes.values()].filter(({ failures }) => failures.length > 0).map(({ file }) => file);
  }

  /** True where a test did not run for a reason that begins so. */
  lacks(reason: string): boolean {
    return [...this.#outcomes.values()].some(({ skipped }) =>
      [...skipped.keys()].some((why) => why.startsWith(reason)),
    );
  }

  /** Says what failed and what did not run. */
  conclude(): void {
    const outcomes = [...this.#outcomes.values()];
    for (const outcome of this.#unsteady) this.#account('unsteady', outcome);
    for (const outcome of outcomes) this.#account('not ok', outcome);

    const reasons = new Map<string, { tests: number; files: string[] }>();
    for (const { file, skipped } of outcomes) {
      for (const [reason, count] of skipped) {
        const { tests, files } = reasons.get(reason) ?? { tests: 0, files: [] };
        reasons.set(reason, { tests: tests + count, files: [...files, file] });
      }
    }
    if (reasons.size > 0) this.#say('');
    for (const [reason, { tests, files }] of reasons) {
      this.#say(
        `not run: ${tests} ${tests === 1 ? 'test' : 'tests'}, ${reason}\n${indented(files.join('\n'), '  ')}`,
      );
    }

    const count = (of: (outcome: Outcome) => number): number => sum(outcomes.map(of));
    const seconds = Math.round((performance.now() - this.#began) / 1000);
    this.#say(
      `\n${outcomes.length} files in ${seconds} s: ${count(({ passed }) => passed)} tests passed, ` +
        `${count(({ failures }) => failures.length)} failed, ${count(({ skipped }) => sum(skipped.values()))} not run`,
    );
    for (const { file } of this.#unsteady)
      this.#say(`unsteady: ${file} failed, and passed when it was run again, alone`);
    for (const file of this.failed) this.#say(`failed: ${file}`);
  }

  #account(state: string, { file, failures, output }: Outcome): void {
    for (const failure of failures) this.#say(account(state, file, failure));
    if (failures.length === 0 || output.trim() === '') return;
    const lines = output.trimEnd().split('\n');
    const left = lines.length - OUTPUT;
    this.#say(`\noutput of ${file}${left > 0 ? `, without its first ${left} lines` : ''}:`);
    this.#say(indented(lines.slice(-OUTPUT).join('\n'), '  | '));
  }

  #say(text: string): void {
    if (this.#isTerminal) process.stdout.write('\r\x1b[K');
    console.log(text);
  }

  /** On a terminal the last line says how far it is. */
  #progress(): void {
    if (!this.#isTerminal) return;
    const names = [...this.#running].map((file) => file.replace(/^test\/|\.test\.ts$/g, ''));
    const line = `${this.#outcomes.size} of ${this.#all}, ${this.failed.length} failed; on: ${names.join(' ')}`;
    process.stdout.write(`\r\x1b[K${line.slice(0, process.stdout.columns - 1)}`);
  }
}

function account(state: string, file: string, { names, line, error }: Failure): string {
  const where = line === undefined ? file : `${file}:${line}`;
  return `\n${state} ${where}\n${names.length > 0 ? `  ${names.join(' › ')}\n` : ''}${indented(error, '    ')}`;
}

function indented(text: string, by: string): string {
  return text.replace(/^/gm, by);
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

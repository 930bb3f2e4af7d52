/** How far a check is: on a terminal one line that is drawn anew, elsewhere a line for each group that is done. */
import type { CaseDefinition } from './case.ts';
import { groupTitles } from './cases/index.ts';
import type { CaseResult, RunningCase } from './runner.ts';
import { outcomeOf, summarize, summaryLine } from './summary.ts';

/** Where it is shown, such as `process.stderr`. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** Cases that fail all before something is said. */
const FIRST = 8;
const clearLine = '\r\u001b[K';

export class Progress {
  /** By id: a client may run a case again. */
  readonly results = new Map<string, CaseResult>();
  /** The cases under way, the oldest first. */
  readonly running = new Map<string, RunningCase>();
  readonly #definitions: CaseDefinition[];
  readonly #label: string;
  readonly #stream: ProgressStream | undefined;
  readonly #shownGroups = new Set<string>();
  readonly #timer: NodeJS.Timeout | undefined;
  #failed = 0;

  /** `label` tells whose cases these are. Without a stream it only keeps count. */
  constructor(label: string, definitions: CaseDefinition[], stream: ProgressStream | undefined) {
    this.#label = label;
    this.#definitions = definitions;
    this.#stream = stream;
    // A case that waits must not look like a program that hangs.
    if (stream?.isTTY) this.#timer = setInterval(() => this.#draw(), 1000).unref();
  }

  started(running: RunningCase): void {
    this.running.set(running.id, running);
  }

  finished(result: CaseResult): void {
    this.running.delete(result.id);
    this.results.set(result.id, result);
    if (outcomeOf(result) === 'failed') this.#failed++;
    if (this.results.size === FIRST && this.#failed === FIRST) this.#doubt();
    if (this.#stream?.isTTY) this.#draw();
    else this.#showGroup(result.id.split('.')[0]!);
  }

  /** Who checks what does not echo would wait for minutes. */
  #doubt(): void {
    const end = this.#stream?.isTTY ? clearLine : '';
    this.#stream?.write(
      `${end}${this.#label}: none of the first ${FIRST} cases passed. Does it echo what it gets, text with text and binary ` +
        'with binary? Ctrl-C ends the check\n',
    );
  }

  /** Shows nothing more. */
  end(): void {
    clearInterval(this.#timer);
    if (this.#stream?.isTTY) this.#stream.write(clearLine);
  }

  #draw(): void {
    const stream = this.#stream!;
    const [oldest] = this.running.values();
    const seconds = oldest ? Math.floor((performance.now() - oldest.since) / 1000) : 0;
    const line = [
      `${this.#label}: ${this.results.size} of ${this.#definitions.length}`,
      ...(this.#failed > 0 ? [`${this.#failed} failed`] : []),
      ...(oldest && seconds > 0 ? [`${oldest.id} waits ${seconds} s for ${oldest.waitsFor()}`] : []),
    ].join(', ');
    stream.write(clearLine + line.slice(0, (stream.columns || 80) - 1));
  }

  #showGroup(group: string): void {
    const ofGroup = this.#definitions.filter(({ id }) => id.startsWith(`${group}.`));
    const results = ofGroup.map(({ id }) => this.results.get(id)).filter((result) => result !== undefined);
    if (results.length < ofGroup.length || this.#shownGroups.has(group)) return;
    this.#shownGroups.add(group);
    const title = `${group} ${groupTitles[group]}`;
    this.#stream?.write(`${this.#label}: ${title}: ${summaryLine(summarize(results))}\n`);
  }
}

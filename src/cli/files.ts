/** The files that settings come from, as they were at one moment, so that all that is set by them is set by the same. */
import { readFileSync, statSync } from 'node:fs';

/** Nobody has settings of that size; who names a log or a disk by mistake is told. */
const MAX_BYTES = 1024 * 1024;

type Content = { text: string } | { problem: string; isMissing: boolean };

/** What a worker is given of its primary's. */
export type FilesCopy = [name: string, content: Content][];

export class Files {
  readonly #contents: Map<string, Content>;
  /** Those that can be read only once, such as the pipe of a shell. */
  readonly #pipes = new Map<string, Content>();
  readonly #isCopy: boolean;

  private constructor(contents: Map<string, Content>, isCopy: boolean) {
    this.#contents = contents;
    this.#isCopy = isCopy;
  }

  static fromDisk(): Files {
    return new Files(new Map(), false);
  }

  static fromCopy(copy: FilesCopy): Files {
    return new Files(new Map(copy), true);
  }

  /** As they are now; but for what can be read only once. */
  anew(): Files {
    const files = Files.fromDisk();
    for (const [name, content] of this.#pipes) {
      files.#pipes.set(name, content);
      files.#contents.set(name, content);
    }
    return files;
  }

  copy(): FilesCopy {
    return [...this.#contents];
  }

  /** Names of all that was read, also of what is not there. */
  get names(): string[] {
    return [...this.#contents.keys()];
  }

  /** Whether there is one. */
  get hasAny(): boolean {
    return [...this.#contents.values()].some((content) => 'text' in content);
  }

  /**
   * The text of a file. What is read once is what it stays.
   *
   * @returns undefined where there is no such file
   * @throws {Error} where it can't be read, saying why
   */
  find(name: string): string | undefined {
    let content = this.#contents.get(name);
    if (content === undefined) {
      content = this.#isCopy ? { problem: 'it is new', isMissing: false } : this.#load(name);
      this.#contents.set(name, content);
    }
    if ('text' in content) return content.text;
    if (content.isMissing) return undefined;
    throw new Error(content.problem);
  }

  /** @throws {Error} where it can't be read, saying why */
  read(name: string): string {
    const text = this.find(name);
    if (text === undefined) throw new Error('ENOENT: there is no such file');
    return text;
  }

  #load(name: string): Content {
    try {
      const stats = statSync(name);
      if (stats.isDirectory()) return { problem: 'it is a folder', isMissing: false };
      if (stats.size > MAX_BYTES) return { problem: `it has more than ${MAX_BYTES} bytes`, isMissing: false };
      const text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(name));
      const content = { text };
      if (!stats.isFile()) this.#pipes.set(name, content);
      return content;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return { problem: message, isMissing: true };
      return { problem: error instanceof TypeError ? 'it is not UTF-8' : message, isMissing: false };
    }
  }
}

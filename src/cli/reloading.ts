/** Settings that a running `tidings serve` takes anew: on SIGHUP, and where a file has changed that is watched. */
import { unwatchFile, watchFile } from 'node:fs';
import type { Log } from '../log-fields.ts';
import type { Files } from './files.ts';
import type { Settings } from './options.ts';
import type { serveOptions } from './serve-options.ts';
import { checkServe, mergeSettings, type ServeSettings, withDemo } from './serve-settings.ts';

/** Milliseconds between two looks at the files. */
const LOOK = 1_000;

export interface ReloadingParts {
  given: Settings<typeof serveOptions>;
  /** Of the demo; see `withDemo`. */
  demoToken: string;
  log: Log;
  /** That is begun, and over, with whatever success; but for what is still under way at the end. */
  begins(): void;
  ends(): void;
  /** Has all go on by these settings, which were read from these files. Rejects where that can't be; then nothing has changed. */
  take(settings: ServeSettings, files: Files): Promise<void>;
}

export class Reloading {
  readonly #parts: ReloadingParts;
  /** What holds. */
  settings: ServeSettings;
  files: Files;
  #isRunning = false;
  /** Asked again meanwhile. */
  #isAsked = false;
  #isOver = false;
  #begin: (() => void) | undefined;
  readonly #begun: Promise<void>;
  #watched: string[] = [];

  constructor(parts: ReloadingParts) {
    this.#parts = parts;
    this.settings = withDemo(parts.given.values, parts.demoToken);
    this.files = parts.given.files;
    this.#begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
    if (this.settings.watch) this.#watch(this.files);
  }

  /** From here on what was asked for is done: before, there is nobody to take it. */
  begin(): void {
    this.#begin!();
  }

  /** Nothing is taken anew any more. */
  end(): void {
    this.#isOver = true;
    for (const name of this.#watched) unwatchFile(name);
    this.#watched = [];
  }

  /** Takes the settings anew. Asked for while that happens, it happens once more. */
  ask(): void {
    if (this.#isOver) {
      this.#parts.log('info', 'no settings are taken anew while it ends', { event: 'reload-too-late' });
      return;
    }
    this.#isAsked = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    await this.#begun;
    while (this.#isAsked && !this.#isOver) {
      this.#isAsked = false;
      this.#parts.begins();
      await this.#reload();
      // What has said meanwhile that it ends is not ready again.
      if (!this.#isOver) this.#parts.ends();
    }
    this.#isRunning = false;
  }

  async #reload(): Promise<void> {
    const { given, demoToken, log, take } = this.#parts;
    const files = this.files.anew();
    try {
      const next = given.again(files);
      checkServe(next);
      const { settings, taken, kept } = mergeSettings(this.settings, withDemo(next.values, demoToken));
      if (taken.length > 0) await take(settings, files);
      this.settings = settings;
      this.files = files;
      const names = taken.length > 0 ? taken.join(', ') : 'nothing has changed';
      log('info', `the settings were taken anew: ${names}`, { event: 'reloaded', changed: taken.join(' ') });
      if (kept.length > 0) {
        const text = `${kept.join(', ')}: only a restart changes that, it stays as it was`;
        log('warn', text, { event: 'reload-needs-restart', unchanged: kept.join(' ') });
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      log('error', `the settings stay as they were: ${why}`, { event: 'reload-failed', error: why });
    } finally {
      if (this.settings.watch && !this.#isOver) this.#watch(this.files, files);
    }
  }

  #watch(...all: Files[]): void {
    const names = [...new Set(all.flatMap((files) => files.names))];
    for (const name of this.#watched) if (!names.includes(name)) unwatchFile(name);
    for (const name of names) {
      if (this.#watched.includes(name)) continue;
      watchFile(name, { interval: LOOK, persistent: false }, (now, before) => {
        if (now.mtimeMs !== before.mtimeMs || now.ino !== before.ino || now.size !== before.size) this.ask();
      });
    }
    this.#watched = names;
  }
}

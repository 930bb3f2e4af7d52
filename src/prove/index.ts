/** `tidings prove`: a push server under faults, and what its pages have lost. */
import type { AdapterContext } from './adapter.ts';
import { adapterNamed } from './adapters/index.ts';
import { writeReport } from './folder.ts';
import { NamedProcess } from './named-process.ts';
import { guard, OwnProcess } from './processes.ts';
import { text } from './report.ts';
import { type Result, shownUrl, TOOL, type Unproven } from './result.ts';
import type { TrialSettings } from './settings.ts';
import { Trial } from './trial.ts';

export { AdapterError } from './adapter.ts';
export { adapters } from './adapters/index.ts';
export { type FaultKind, faultKinds } from './faults.ts';
export { prepareFolder, writeUnproven } from './folder.ts';
export type { Result, Unproven } from './result.ts';
export { NoProofError } from './trial.ts';

export interface ProveSettings extends AdapterContext, Omit<TrialSettings, 'urls' | 'adapter' | 'victims'> {
  /** The name of an adapter, or the path of a module that is one. */
  adapter: string;
  /** Commands that are started, and may be killed, frozen and started again. */
  run: readonly string[];
  /** Process ids, or files with one: of processes that may be frozen; where `restart` is given, killed as well. */
  allowKill: readonly string[];
  /** The same of processes that may only be frozen. */
  allowFreeze: readonly string[];
  /** What starts those again that were killed. */
  restart: string | undefined;
}

/**
 * @throws {AdapterError} where it can't be done as it was asked for
 * @throws {NoProofError} where it has proven nothing, neither that the server is good nor that it is not
 */
export async function prove(settings: ProveSettings): Promise<Result> {
  const victims = [
    ...settings.run.map((command) => new OwnProcess(command)),
    ...settings.allowKill.map((source) => new NamedProcess(source, settings.restart)),
    ...settings.allowFreeze.map((source) => new NamedProcess(source, undefined)),
  ];
  const adapter = await adapterNamed(settings.adapter, settings);
  const urls = settings.urls.map((url) => new URL(url));
  const ended = guard(victims);
  try {
    return await new Trial({ ...settings, urls, adapter, victims }).play();
  } finally {
    ended();
  }
}

/** @param why as people say it */
export function unproven(settings: Pick<ProveSettings, 'adapter' | 'urls' | 'seed'>, why: string): Unproven {
  const { adapter, urls, seed } = settings;
  const shown = urls.map((url) => shownUrl(new URL(url)));
  return { tool: TOOL, adapter, urls: shown, seed, failures: [why], verdict: 'unproven' };
}

export interface Output {
  /** Folder for index.html and index.json. */
  outdir: string | undefined;
  json: boolean;
  /** The command line that repeats the run. */
  again: string;
  write(text: string): void;
  /** Takes what is no result. */
  note(text: string): void;
}

/** Prints a result. @returns the exit status: 1 where the server has failed, or the report could not be written */
export function conclude(result: Result, { outdir, json, again, write, note }: Output): number {
  write(json ? `${JSON.stringify(result)}\n` : `${text(result)}\n`);
  if (!json) note(`the same choices again: ${again}`);
  try {
    if (outdir !== undefined) note(`report: ${writeReport(outdir, result, again)}`);
  } catch (error) {
    note((error as Error).message);
    return 1;
  }
  return result.verdict === 'passed' ? 0 : 1;
}

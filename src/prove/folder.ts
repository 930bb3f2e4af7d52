/** The folder of a report: index.json and index.html, which never say more than what is known. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AdapterError } from './adapter.ts';
import { html, unprovenHtml } from './report.ts';
import { type Result, TOOL, type Unproven } from './result.ts';

const FILES = ['index.json', 'index.html'] as const;

/**
 * Before a run: makes the folder, and writes that nothing is proven yet, over a report of an earlier run.
 *
 * @throws {AdapterError} where that can't be written, or where the folder has such files of somebody else
 */
export function prepareFolder(folder: string, unproven: Unproven): void {
  for (const name of FILES) {
    const path = join(folder, name);
    if (existsSync(path) && !isOurs(path))
      throw new AdapterError(
        `--outdir '${folder}': ${name} there is no report of ${TOOL}: give another folder`,
      );
  }
  writeUnproven(folder, unproven);
}

/** @throws {AdapterError} where it can't be written */
export function writeUnproven(folder: string, unproven: Unproven): void {
  write(folder, unproven, unprovenHtml(unproven));
}

/**
 * @param again the command that repeats the run
 * @returns the path of the page
 * @throws {AdapterError} where it can't be written
 */
export function writeReport(folder: string, result: Result, again: string): string {
  write(folder, result, html(result, again));
  return join(folder, 'index.html');
}

function isOurs(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').includes(TOOL);
  } catch {
    // No file, or none that may be read.
    return false;
  }
}

function write(folder: string, data: Result | Unproven, page: string): void {
  const texts = { 'index.json': `${JSON.stringify(data, null, 2)}\n`, 'index.html': page };
  try {
    mkdirSync(folder, { recursive: true });
    // On a full disk what was there stays, and is no half of a report.
    for (const name of FILES) writeFileSync(join(folder, `${name}.new`), texts[name]);
    for (const name of FILES) renameSync(join(folder, `${name}.new`), join(folder, name));
  } catch (error) {
    for (const name of FILES) {
      const half = join(folder, `${name}.new`);
      if (existsSync(half)) rmSync(half);
    }
    throw new AdapterError(`--outdir '${folder}' can't be written: ${(error as Error).message}`);
  }
}

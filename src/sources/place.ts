/** What sources of several kinds read of the place that they are given: its URL, where to begin, and files. */
import { readFile } from 'node:fs/promises';
import { SourceSetupError } from './driver.ts';

/**
 * The URL, every part of which can be decoded.
 *
 * @param form what it looks like, for people
 * @throws {TypeError} for what is none. Nothing of it is told: it may hold a password
 */
export function urlOf(given: string, form: string): URL {
  try {
    const url = new URL(given);
    for (const part of [url.username, url.password, url.pathname]) decodeURIComponent(part);
    return url;
  } catch {
    // Its error has the URL in it.
    throw unreadable(form);
  }
}

/** @param form what the URL should look like */
export function unreadable(form: string): TypeError {
  return new TypeError(`the URL of the source can not be read: ${form}`);
}

/**
 * Where reading begins: from the first message, from the next one, or milliseconds since 1970.
 *
 * @throws {TypeError} for what is none of them
 */
export function startOf(start = 'first'): 'first' | 'next' | number {
  if (start === 'first' || start === 'next') return start;
  const time = Date.parse(start);
  if (Number.isNaN(time) || time < 0)
    throw new TypeError('start is first, next, or a time such as 2026-11-26T10:00:00Z');
  return time;
}

/**
 * The files that settings name, by these names. Read for each connection, as certificates are renewed.
 *
 * @throws {SourceSetupError} for one that can't be read
 */
export async function filesOf<Name extends string>(
  paths: Readonly<Partial<Record<Name, string | undefined>>>,
): Promise<Partial<Record<Name, Buffer>>> {
  const files: Partial<Record<Name, Buffer>> = {};
  for (const [name, path] of Object.entries(paths) as [Name, string | undefined][]) {
    if (path === undefined) continue;
    try {
      files[name] = await readFile(path);
    } catch (error) {
      throw new SourceSetupError(`${name}: the file ${path} can't be read: ${(error as Error).message}`);
    }
  }
  return files;
}

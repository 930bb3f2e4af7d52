/** `--source`: where messages come from besides those who send them here. */
import { driverOf } from '../sources/kinds.ts';
import { checked, list, type Option, secret } from './options.ts';

export const sourceOption: Option<string[]> = secret(
  checked(
    list(
      'URL',
      'Messages come from this queue, stream or outbox table, such as postgres://host/database; see docs/sources.md; may be repeated',
      /\s+/,
    ),
    problemOf,
  ),
);

/** What it says does not have the URL, which may have a password. */
function problemOf(urls: string[]): string | undefined {
  try {
    for (const url of urls) driverOf(url);
    return undefined;
  } catch (error) {
    return `has what is no source: ${(error as Error).message}`;
  }
}

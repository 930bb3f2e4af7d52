/** The settings of `tidings serve` that are about operators: the admin API, its page, metrics and probes. */
import { AdminTokens } from '../admin/tokens.ts';
import { checked, choice, integer, list, type Option, reloaded, secret, text } from './options.ts';

/** A port, or none. */
function port(help: string): Option<number | undefined> {
  const { parse, ...rest } = integer('PORT', help, { min: 0, max: 65_535, fallback: 0 });
  return { ...rest, fallback: undefined, shown: '', parse };
}

export const adminOptions = {
  adminToken: reloaded(
    'at once',
    secret(
      checked(
        list(
          '[SCOPE,…=]TOKEN',
          'Switches the admin API on for who has this token; with scopes (read, send, control) only for these; may be repeated',
          /\s+/,
        ),
        problemOf,
      ),
    ),
  ),
  adminPort: port(
    'Port for the admin API, its page and /metrics, which are not on --port then; 0 for any free one',
  ),
  adminHost: text('HOST', 'Address for --admin-port', '127.0.0.1'),
  adminRate: integer('N', 'Requests a second of one admin token; 0 for no limit', {
    min: 0,
    max: 1_000_000,
    fallback: 1_000,
  }),
  adminFrames: reloaded(
    'at once',
    choice(['hidden', 'data'], 'Whether who follows a user sees what is sent, or only that it is', 'hidden'),
  ),
  storeGrace: reloaded(
    'at once',
    integer('MS', 'Milliseconds for which the store may be away before /readyz says so', {
      min: 0,
      max: 3_600_000,
      fallback: 60_000,
    }),
  ),
};

/** What it says does not have the token. */
function problemOf(texts: string[]): string | undefined {
  try {
    new AdminTokens(texts);
    return undefined;
  } catch (error) {
    return `has what is no token: ${(error as Error).message}`;
  }
}

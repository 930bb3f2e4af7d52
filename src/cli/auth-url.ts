/** How `tidings serve` asks an application whose a page is. */
import { askApplication } from '../push/index.ts';
import type { PushInterceptor } from '../push/options.ts';
import { file, integer, list, reloaded, secret, text, UsageError, type Values } from './options.ts';

export const authOptions = {
  authUrl: reloaded(
    'new pages',
    secret(
      text(
        'URL',
        'Ask the application at this address whose a page is, such as http://127.0.0.1:8080/who (docs/authentication.md)',
      ),
    ),
  ),
  recheck: reloaded(
    'new pages',
    integer(
      'SECONDS',
      'Seconds after which the application is asked again whether a page may stay; 0: only when told to',
      { min: 0, max: 2_000_000, fallback: 300 },
    ),
  ),
  authTimeout: reloaded(
    'new pages',
    integer('SECONDS', 'Seconds that the application may take for an answer', {
      min: 1,
      max: 3_600,
      fallback: 4,
    }),
  ),
  authGrace: reloaded(
    'new pages',
    integer('SECONDS', 'Seconds for which pages may stay while the application does not answer', {
      min: 0,
      max: 2_000_000,
      fallback: 300,
    }),
  ),
  authHeaders: reloaded(
    'new pages',
    list(
      'NAME',
      "Which of the page's headers go to the application, in place of cookie and origin; may be repeated",
      /[\s,]+/,
    ),
  ),
  authCa: reloaded(
    'new pages',
    file('FILE', "PEM file of the authorities that an https: --auth-url trusts in place of the system's"),
  ),
};

/** @throws {UsageError} for what makes no sense */
export function authInterceptor(settings: Values<typeof authOptions>): PushInterceptor | undefined {
  const { authUrl, recheck, authTimeout, authGrace, authHeaders, authCa } = settings;
  if (authUrl === undefined) {
    if (authCa === undefined && authHeaders.length === 0) return undefined;
    throw new UsageError('--auth-ca and --auth-headers are for --auth-url');
  }
  if (authCa !== undefined && !/^https:/i.test(authUrl)) {
    throw new UsageError('--auth-ca is for an https: --auth-url');
  }
  try {
    return askApplication({
      url: authUrl,
      recheck: recheck * 1000,
      timeout: authTimeout * 1000,
      grace: authGrace * 1000,
      ...(authHeaders.length > 0 && { headers: authHeaders }),
      ...(authCa !== undefined && { ca: authCa.text }),
    });
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(`--auth-${error.message}`);
    throw error;
  }
}

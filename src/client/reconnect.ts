/** When to try again: full jitter over an exponential backoff, or a fixed pace. And which closes are final. */
import { CloseCode } from '../push/talk/wire.ts';

export interface BackoffOptions {
  mode?: 'backoff';
  /** Milliseconds within which the first try falls; each further one within twice as many. Default 500. */
  min?: number;
  /** Milliseconds that the span never exceeds. Default 20_000. */
  max?: number;
  /** Tries in a row before giving up. Default: never. */
  attempts?: number;
}
export interface FixedOptions {
  mode: 'fixed';
  /** Milliseconds before every try. Default 10_000. */
  delay?: number;
  /** Tries in a row before giving up. Default 20. */
  attempts?: number;
}
export type ReconnectOptions = BackoffOptions | FixedOptions;

/**
 * Milliseconds to wait before try number `attempt` (1, 2, …) after a close with `code`; undefined for never.
 * @param random in [0, 1)
 */
export function reconnectDelay(
  options: ReconnectOptions | false,
  attempt: number,
  code: number,
  random: number,
): number | undefined {
  if (options === false || (code >= 4500 && code < 5000)) return undefined;
  if (options.mode === 'fixed')
    return attempt > (options.attempts ?? 20) ? undefined : (options.delay ?? 10_000);
  if (attempt > (options.attempts ?? Number.POSITIVE_INFINITY)) return undefined;
  const max = options.max ?? 20_000;
  // Told to slow down, a client that has just been connected would otherwise be back at once.
  if (code === CloseCode.RATE_LIMIT) return random * max;
  return random * Math.min(max, (options.min ?? 500) * 2 ** (attempt - 1));
}

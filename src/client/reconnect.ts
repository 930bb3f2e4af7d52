/** When to try again: full jitter over an exponential backoff, or a fixed pace. And which closes are final. */
import { CloseCode } from '../push/talk/wire.ts';
import { MAX_DELAY } from './heartbeat.ts';

/** To try again after a random part of a span that doubles. */
export interface BackoffOptions {
  /** The default. */
  mode?: 'backoff';
  /** Milliseconds within which the first try falls; each further one within twice as many. Default 500. */
  min?: number;
  /** Milliseconds that the span never exceeds. Default 20_000. */
  max?: number;
  /** Tries in a row before giving up. Default: never. */
  attempts?: number;
}
/** To try again at a fixed pace. */
export interface FixedOptions {
  /** The same delay before every try. */
  mode: 'fixed';
  /** Milliseconds before every try. Default 10_000. */
  delay?: number;
  /** Tries in a row before giving up. Default 20. */
  attempts?: number;
}
/** When to try again. */
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
  if (options === false || isFinal(code)) return undefined;
  const {
    mode,
    delay = 10_000,
    min = 500,
    max = 20_000,
  } = options as Omit<BackoffOptions, 'mode'> & Partial<FixedOptions>;
  const isFixed = mode === 'fixed';
  const { attempts = isFixed ? 20 : Number.POSITIVE_INFINITY } = options;
  if (attempt > attempts) return undefined;
  // A client that has just been connected would otherwise be back at once.
  const span = LATER.includes(code) ? max : Math.min(max, min * 2 ** (attempt - 1));
  return Math.min(isFixed ? delay : random * span, MAX_DELAY);
}

/** A frame of ours was too long (RFC 6455 §7.4.1). */
export const TOO_BIG = 1009;
/** What the client closes with when the server says what can't be understood (RFC 6455 §7.4.1). */
export const NONSENSE = 1007;
/** Told to slow down, that somebody must repair something first, or nonsense. */
const LATER: number[] = [CloseCode.RATE_LIMIT, CloseCode.DAMAGED, NONSENSE];

/** Whether the server asks not to come back. */
export function isFinal(code: number): boolean {
  return code >= 4500 && code < 5000;
}

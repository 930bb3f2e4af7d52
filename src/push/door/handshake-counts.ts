/** How handshakes end, by reason: plain numbers for metrics, and a line of the log for each that is refused. */
import type { Log } from '../../log-fields.ts';
import { zeros } from '../../metrics/zeros.ts';

/** Why somebody does not come in. docs/metrics.md says more of each. */
export const REFUSAL_REASONS = [
  /** This instance is going. */
  'draining',
  /** It has as many sessions as it may have. */
  'full',
  /** The address has as many. */
  'address',
  /** The user has as many, and it may be a foreign page. */
  'user-full',
  /** Its page is of a foreign origin. */
  'origin',
  /** A request or a name that can't be. */
  'malformed',
  /** Nobody knows who it is. */
  'unauthenticated',
  /** The login has ended. */
  'expired',
  /** The application does not let him in. */
  'forbidden',
  'blocked',
  /** What ended his sessions came meanwhile. */
  'ended',
  /** Who may come in could not be asked. */
  'unavailable',
  /** Something of the application has failed. */
  'failed',
  'timeout',
  /** The client did not wait for the end. */
  'gone',
  'other',
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** For each that is not let in. */
export function tellRefused(log: Log, reason: RefusalReason, address: string, user?: string): void {
  const who = user ?? 'somebody';
  const from = address === '' ? '' : ` from ${address}`;
  log('info', `${who}${from} was not let in: ${reason}`, { event: 'session-refused', reason, address, user });
}

const NONE = { size: 0 };

export class HandshakeCounts {
  /** Those that have become a session. */
  accepted = 0;
  /** Those that are under way, and of these, those that wait for their turn: the gate's. */
  pending: { readonly size: number } = NONE;
  waiting: { readonly size: number } = NONE;
  readonly refused = zeros(REFUSAL_REASONS);
}

/** Whether an instance should be given new pages: what load balancers ask. */

export interface Health {
  /** Whether new pages are welcome here. */
  ready: boolean;
  /**
   * Why not: it has not reached its store or its port yet, it is going, or its store has been away for longer than
   * `storeGrace`.
   */
  reason?: 'starting' | 'draining' | 'store-away';
  /** Milliseconds since which the store can't be reached; left out while it can. */
  storeAwayFor?: number;
}

/**
 * Longer than it takes until another server has taken over, with what Sentinel (30 s) and Cluster (15 s) wait by default:
 * all instances lose a store at the same time, and none of them would be left.
 */
export const DEFAULT_STORE_GRACE = 60_000;

/** When an instance is not ready. */
export interface HealthSettings {
  /** Milliseconds for which the store may be away before an instance is not ready. Default 60,000. */
  storeGrace?: number;
}

/** @param awayFor milliseconds; undefined while the store is there */
export function healthOf(
  state: { isOpen: boolean; isDraining: boolean; awayFor: number | undefined },
  storeGrace: number,
): Health {
  const { isOpen, isDraining, awayFor } = state;
  // Up, so that it is longer than the grace where that is over.
  const away = awayFor === undefined ? {} : { storeAwayFor: Math.ceil(awayFor) };
  const reason = isDraining
    ? 'draining'
    : !isOpen
      ? 'starting'
      : awayFor !== undefined && awayFor > storeGrace
        ? 'store-away'
        : undefined;
  return reason === undefined ? { ready: true, ...away } : { ready: false, reason, ...away };
}

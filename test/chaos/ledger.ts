/** What was promised to a page, what it saw, and what that amounts to. */

/** What a page saw in one of its streams, in the order in which it saw it. */
export type Sighting =
  | { kind: 'message'; n: number; id: string }
  /** `promised`: the last message that was promised when the page was told. */
  | { kind: 'gap'; reason: string; promised: number };

export interface Account {
  /** Messages promised to the page. */
  promised: number;
  /** Promised messages that it did not see, and was not told of. */
  lost: number;
  duplicated: number;
  reordered: number;
  /** How often it was told that something is missing. */
  gaps: number;
  /** Promised messages that it did not see, and was told of. */
  told: number;
  /**
   * Seen again as another message after the store had lost the first: its idempotency key went with it, and its
   * publisher, who had no answer, sent it again.
   */
  resent: number;
}

export const emptyAccount = (): Account => ({
  promised: 0,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  gaps: 0,
  told: 0,
  resent: 0,
});

/**
 * @param sightings of one stream, whose messages are numbered 1, 2, 3 …
 * @param promised the number of the last one that was promised
 */
export function account(sightings: Sighting[], promised: number): Account {
  const result = { ...emptyAccount(), promised };
  const ids = new Map<number, string>();
  const lost = new Set<number>();
  const told = new Set<number>();
  let last = 0;
  let reloaded = 0;
  let hasRewound = false;
  // A page that is told reloads: that makes up for what was promised by then and does not come after it.
  const miss = (from: number, to: number): void => {
    for (let n = from; n <= to; n++) (n <= reloaded ? told : lost).add(n);
  };
  for (const sighting of sightings) {
    if (sighting.kind === 'gap') {
      result.gaps++;
      reloaded = sighting.promised;
      hasRewound ||= sighting.reason === 'rewound';
      continue;
    }
    const { n, id } = sighting;
    const known = ids.get(n);
    if (known !== undefined) {
      if (hasRewound && known !== id) result.resent++;
      else result.duplicated++;
      continue;
    }
    ids.set(n, id);
    if (n < last) {
      result.reordered++;
      lost.delete(n);
      told.delete(n);
      continue;
    }
    miss(last + 1, n - 1);
    last = n;
  }
  miss(last + 1, promised);
  return { ...result, lost: lost.size, told: told.size };
}

export function total(accounts: Account[]): Account {
  const sum = emptyAccount();
  for (const one of accounts) {
    for (const key of Object.keys(sum) as (keyof Account)[]) sum[key] += one[key];
  }
  return sum;
}

/** What was promised to a page, what it saw, and what that amounts to. */

/** What a page saw in one of its streams, in the order in which it saw it. */
export type Sighting = { kind: 'message'; n: number; id: string } | Gap;

/** The page was told that something is missing. */
export interface Gap {
  kind: 'gap';
  reason: string;
  /** The last message that was promised when the page was told. */
  promised: number;
  /** Something has happened that may lose messages, whether or not this page has missed any. */
  isExcused?: boolean;
  /** When it was told, by `performance.now()`, for who wants to know. */
  at?: number;
}

export interface Account {
  /** Messages promised to the page. */
  promised: number;
  /** Promised messages that it did not see, and was not told of. */
  lost: number;
  duplicated: number;
  reordered: number;
  /** How often it was told that something is missing. */
  gaps: number;
  /** How often it was told so where nothing was missing, and nothing had happened that excuses it. */
  vain: number;
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
  vain: 0,
  told: 0,
  resent: 0,
});

/** Which messages they are, behind the figures of an account. */
export interface Review {
  promised: number;
  lost: Set<number>;
  told: Set<number>;
  /** Once for each time that one came again. */
  duplicated: number[];
  reordered: number[];
  resent: number[];
  gaps: number;
  /** Those at which nothing was missing. */
  vain: Gap[];
}

export interface ReviewOptions {
  /** The first message that counts. Default: the first one that is seen, or 1. */
  first?: number;
  /** Messages of which nobody knows whether they were promised: they may come, once and at any time. Default: none. */
  open?: ReadonlySet<number>;
}

/** Ids are known of so many of the last messages at the least: none is sent again later. */
const KEPT_IDS = 10_000;

/**
 * Judges what a page sees in one stream, whose messages are numbered 1, 2, 3 …, as it comes. Of what was right a byte is kept for
 * each message, for runs of days. Which ones are `open` has to be known of all before the one that is seen.
 */
export class Ledger {
  /** The highest number seen; before that, the one before the first that counts. */
  last: number;
  #first: number | undefined;
  readonly #open: ReadonlySet<number>;
  readonly #found: Omit<Review, 'promised'> = {
    lost: new Set(),
    told: new Set(),
    duplicated: [],
    reordered: [],
    resent: [],
    gaps: 0,
    vain: [],
  };
  /** A byte for each message: 1 where it has come. */
  #came = new Uint8Array(1024);
  #different = 0;
  readonly #ids = new Map<number, string>();
  #reloaded = 0;
  #hasRewound = false;
  /** Gaps of which it isn't known yet whether something is missing. */
  #news: Gap[] = [];

  constructor({ first, open = new Set() }: ReviewOptions = {}) {
    this.#first = first;
    this.last = (first ?? 1) - 1;
    this.#open = open;
  }

  /** The first message that counts, once that is known. */
  get first(): number | undefined {
    return this.#first;
  }

  /** Whether all messages have come from the first to the last one that was seen; some of which need not come. */
  get isWhole(): boolean {
    return this.#first === undefined || this.#different === this.last - this.#first + 1;
  }

  has(n: number): boolean {
    return this.#came[n] === 1;
  }

  see(sighting: Sighting): void {
    if (sighting.kind === 'gap') {
      this.#found.gaps++;
      this.#reloaded = sighting.promised;
      this.#hasRewound ||= sighting.reason === 'rewound';
      this.#news.push(sighting);
      return;
    }
    const { lost, told, duplicated, reordered, resent } = this.#found;
    const { n, id } = sighting;
    if (this.#first === undefined) {
      this.#first = n;
      this.last = n - 1;
    }
    if (n < this.#first) return;
    if (this.has(n)) {
      const known = this.#ids.get(n) ?? id;
      (this.#hasRewound && known !== id ? resent : duplicated).push(n);
      return;
    }
    this.#note(n, id);
    if (n < this.last) {
      if (!this.#open.has(n)) reordered.push(n);
      lost.delete(n);
      told.delete(n);
      return;
    }
    this.#miss(this.last + 1, n - 1);
    this.last = n;
    this.#passOn(n);
  }

  /**
   * What it comes to, if nothing more is seen.
   *
   * @param promised the number of the last message that was promised
   */
  close(promised: number): Review {
    this.#miss(this.last + 1, promised);
    this.#passOn(Number.POSITIVE_INFINITY);
    let count = 0;
    for (let n = this.#first ?? 1; n <= promised; n++) if (!this.#open.has(n)) count++;
    return { ...this.#found, promised: count };
  }

  #note(n: number, id: string): void {
    if (n >= this.#came.length) {
      const longer = new Uint8Array(2 * n);
      longer.set(this.#came);
      this.#came = longer;
    }
    this.#came[n] = 1;
    this.#different++;
    this.#ids.set(n, id);
    if (this.#ids.size < 2 * KEPT_IDS) return;
    for (const old of this.#ids.keys()) {
      if (this.#ids.size <= KEPT_IDS) return;
      this.#ids.delete(old);
    }
  }

  /** A page that is told reloads: that makes up for what was promised by then and does not come after it. */
  #miss(from: number, to: number): void {
    let least: number | undefined;
    for (let n = from; n <= to; n++) {
      if (this.#open.has(n)) continue;
      (n <= this.#reloaded ? this.#found.told : this.#found.lost).add(n);
      least ??= n;
    }
    if (least !== undefined) this.#news = this.#news.filter((gap) => gap.promised < least);
  }

  #passOn(to: number): void {
    for (const gap of this.#news) if (gap.promised <= to && !gap.isExcused) this.#found.vain.push(gap);
    this.#news = this.#news.filter((gap) => gap.promised > to);
  }
}

/** The figures of what a page saw. @param promised the number of the last message that was promised */
export function account(
  sightings: readonly Sighting[],
  promised: number,
  options: ReviewOptions = {},
): Account {
  const ledger = new Ledger({ first: 1, ...options });
  for (const sighting of sightings) ledger.see(sighting);
  return figuresOf(ledger.close(promised));
}

export function figuresOf({ lost, duplicated, reordered, vain, told, resent, ...rest }: Review): Account {
  return {
    ...rest,
    lost: lost.size,
    duplicated: duplicated.length,
    reordered: reordered.length,
    vain: vain.length,
    told: told.size,
    resent: resent.length,
  };
}

export function total(accounts: Account[]): Account {
  const sum = emptyAccount();
  for (const one of accounts) {
    for (const key of Object.keys(sum) as (keyof Account)[]) sum[key] += one[key];
  }
  return sum;
}

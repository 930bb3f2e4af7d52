/**
 * Joins what goes to one node of a store in one turn into one call: a call costs as much as several messages in it. The
 * first goes at the end of the turn, whatever comes after it; while some are under way the rest is collected, and
 * goes with the next reply. So few calls are made when there is much to do, and nobody waits when there is little.
 */
import { nextTick } from '../../clock.ts';

/** Calls under way at a time: what comes meanwhile is collected. */
const AT_ONCE = 2;
/** Calls under way at a time that are full. */
const FULL_AT_ONCE = 16;
/** What fills a call: messages, and their bytes. One part is never split. */
const FULL = 64;
const FULL_BYTES = 256 * 1024;

export interface Part {
  /** Messages in it, or how many it counts for. */
  count: number;
  /** Bytes of them. */
  bytes: number;
}

interface Waiting<P, R> {
  part: P;
  resolve(result: R): void;
  reject(error: unknown): void;
}

interface Group<P, R> {
  /** What can be in one call: in a Redis Cluster, keys of one slot. */
  slot: number | undefined;
  waiting: Waiting<P, R>[];
  count: number;
  bytes: number;
  underWay: number;
  isDue: boolean;
}

export class JoinedCalls<P extends Part, R> {
  readonly #groups = new Map<number | undefined, Group<P, R>>();
  readonly #call: (parts: P[], slot: number | undefined) => Promise<R[]>;

  /** @param call resolves with a result for each part, or rejects for all of them */
  constructor(call: (parts: P[], slot: number | undefined) => Promise<R[]>) {
    this.#call = call;
  }

  add(slot: number | undefined, part: P): Promise<R> {
    let group = this.#groups.get(slot);
    if (group === undefined) {
      group = { slot, waiting: [], count: 0, bytes: 0, underWay: 0, isDue: false };
      this.#groups.set(slot, group);
    }
    const own = group;
    return new Promise((resolve, reject) => {
      own.waiting.push({ part, resolve, reject });
      own.count += part.count;
      own.bytes += part.bytes;
      if (own.isDue || !mayCall(own)) return;
      own.isDue = true;
      nextTick(() => {
        own.isDue = false;
        this.#send(own);
      });
    });
  }

  #send(group: Group<P, R>): void {
    while (group.waiting.length > 0 && mayCall(group)) void this.#make(group, take(group));
  }

  async #make(group: Group<P, R>, waiting: Waiting<P, R>[]): Promise<void> {
    group.underWay++;
    try {
      const parts = waiting.map(({ part }) => part);
      const results = await this.#call(parts, group.slot);
      for (const [i, { resolve }] of waiting.entries()) resolve(results[i]!);
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
    group.underWay--;
    if (group.waiting.length > 0) this.#send(group);
    else if (group.underWay === 0 && !group.isDue) this.#groups.delete(group.slot);
  }
}

function mayCall({ underWay, count, bytes }: Group<Part, unknown>): boolean {
  return underWay < (count >= FULL || bytes >= FULL_BYTES ? FULL_AT_ONCE : AT_ONCE);
}

function take<P extends Part, R>(group: Group<P, R>): Waiting<P, R>[] {
  let count = 0;
  let bytes = 0;
  let end = 0;
  for (; end < group.waiting.length; end++) {
    const { part } = group.waiting[end]!;
    if (end > 0 && (count + part.count > FULL || bytes + part.bytes > FULL_BYTES)) break;
    count += part.count;
    bytes += part.bytes;
  }
  group.count -= count;
  group.bytes -= bytes;
  return group.waiting.splice(0, end);
}

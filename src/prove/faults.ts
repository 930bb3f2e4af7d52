/** What is broken on purpose, when, and for whom: chosen by the seed. */
import { pause } from '../waiting.ts';
import type { Page } from './page.ts';
import type { Victim } from './processes.ts';
import type { Random } from './random.ts';
import type { Timing } from './sender.ts';

/** Of connections: what is done to them, as people are told. */
export const connectionFaults = {
  cut: 'cut at a random moment',
  before: 'cut right before a message is sent',
  during: 'cut while a message is sent',
  after: 'cut right after a message was accepted',
  half: 'cut in the middle of a message',
  silent: 'packets vanish, and neither side hears of it for up to 4 s',
  offline: 'cut, and no new ones for up to 1.5 s',
  slow: 'a thin line for up to 2 s',
  stall: 'the page takes nothing for up to 2 s',
  late: 'up to 100 ms late for up to 1 s',
} as const;

/** Of processes, where that is permitted. */
export const processFaults = {
  kill: 'killed, and started again within half a second',
  restart: 'asked to end, and started again',
  freeze: 'stands still for up to 3 s',
} as const;

type ProcessFault = keyof typeof processFaults;
export type FaultKind = keyof typeof connectionFaults | ProcessFault;
export const faultKinds = [...Object.keys(connectionFaults), ...Object.keys(processFaults)] as FaultKind[];

/** Those that may happen, of these that are wanted. */
export function possibleFaults<Kind extends FaultKind>(
  wanted: ReadonlySet<Kind>,
  victims: readonly Victim[],
): Kind[] {
  const isPossible: Partial<Record<FaultKind, boolean>> = {
    kill: victims.some(({ isMortal }) => isMortal),
    restart: victims.some(({ isMortal, terminate }) => isMortal && terminate !== undefined),
    freeze: victims.length > 0,
  };
  return (faultKinds as Kind[]).filter((kind) => wanted.has(kind) && isPossible[kind] !== false);
}

/** One that has happened. */
export interface Fault {
  kind: FaultKind | 'away';
  /** Milliseconds by `performance.now()`: when it began, and when it was over. */
  from: number;
  to: number;
  /** Indices of pages whose connections it has hit; those of all for a process. */
  pages: number[];
  /** The process. */
  victim?: string;
  /** Of `away`: how many the page has missed, or the one that has missed the fewest. */
  messages?: number;
}

/** Faults of a kind that depends on a message, on average: milliseconds between two of the same user. */
const BETWEEN_TIMED = 800;
/** Milliseconds between two of the others, on average, and between two of processes. */
const BETWEEN = 250;
const BETWEEN_PROCESSES = 1500;

export interface FaultsSetup {
  pages: readonly Page[];
  victims: readonly Victim[];
  /** Those that may be. */
  kinds: ReadonlySet<FaultKind>;
  /** Milliseconds between two messages of a user. */
  interval: number;
}

export class Faults {
  readonly happened: Fault[] = [];
  readonly #setup: FaultsSetup;
  /** Pages whose line is being broken: one fault at a time for each. */
  readonly #busy = new Set<Page>();

  constructor(setup: FaultsSetup) {
    this.#setup = setup;
  }

  /** What happens about the user's next message. */
  timing(user: string, random: Random): Timing {
    const { kinds, interval, pages } = this.#setup;
    const timed = (['before', 'during', 'after', 'half'] as const).filter((kind) => kinds.has(kind));
    const isTime = random.chance(Math.max(1, Math.round(BETWEEN_TIMED / Math.max(1, interval))));
    const number = random.next();
    const isAll = random.chance(3);
    if (!isTime || timed.length === 0) return {};
    const kind = timed[number % timed.length]!;
    const mine = pages.filter((page) => page.user === user);
    const hit = isAll ? mine : [mine[(number >>> 8) % mine.length]!];
    const act = (): void => {
      const reached = hit.filter(({ proxy }) => (kind === 'half' ? proxy.breakNext() : proxy.cut()) > 0);
      this.#record(kind, reached, performance.now());
    };
    return kind === 'half' ? { before: act } : { [kind]: act };
  }

  /** Breaks connections as long as this is so, and leaves them whole. */
  async breakConnections(isOn: () => boolean, random: Random): Promise<void> {
    const { kinds, pages } = this.#setup;
    const mine = (['cut', 'silent', 'offline', 'slow', 'stall', 'late'] as const).filter((kind) =>
      kinds.has(kind),
    );
    if (mine.length === 0) return;
    const lasting: Promise<void>[] = [];
    while (isOn()) {
      const kind = random.pick(mine);
      const oneIn = 2 + random.below(3);
      const chosen = pages.filter(() => random.chance(oneIn));
      const length = random.next();
      const wait = random.below(2 * BETWEEN);
      const free = chosen.filter((page) => !this.#busy.has(page));
      // It lasts; the next one does not wait for it.
      lasting.push(this.#breakLines(kind, free, length));
      await whileOn(isOn, wait);
    }
    await Promise.all(lasting);
  }

  async #breakLines(kind: FaultKind, pages: Page[], number: number): Promise<void> {
    const up = (to: number): number => number % to;
    const from = performance.now();
    for (const page of pages) this.#busy.add(page);
    const reached: Page[] = [];
    const resumes: (() => void)[] = [];
    for (const page of pages) {
      const { proxy } = page;
      let links = proxy.size;
      if (kind === 'cut') links = proxy.cut();
      else if (kind === 'silent') proxy.freeze();
      else if (kind === 'offline') {
        proxy.refuses = true;
        proxy.cut();
      } else if (kind === 'slow') {
        // From a modem to a bad telephone.
        proxy.rate = 2000 + up(30_000);
        proxy.throttle(proxy.rate);
      } else if (kind === 'stall') resumes.push(proxy.stall());
      else proxy.delay = 1 + up(100);
      if (links > 0) reached.push(page);
    }
    const lasts = {
      cut: 0,
      silent: 500 + up(3500),
      offline: up(1500),
      slow: up(2000),
      stall: up(2000),
      late: up(1000),
    };
    await pause(lasts[kind as keyof typeof lasts]);
    for (const resume of resumes) resume();
    for (const page of pages) {
      page.heal();
      this.#busy.delete(page);
    }
    this.#record(kind, reached, from);
  }

  /** Kills, freezes and starts processes again as long as this is so; then all of them run. */
  async breakProcesses(isOn: () => boolean, random: Random): Promise<void> {
    const { victims, kinds } = this.#setup;
    if (victims.length === 0) return;
    const mine = new Set((Object.keys(processFaults) as ProcessFault[]).filter((kind) => kinds.has(kind)));
    await whileOn(isOn, random.below(BETWEEN_PROCESSES));
    while (isOn()) {
      const victim = random.pick(victims);
      const number = random.next();
      const possible = possibleFaults(mine, [victim]);
      const wait = random.below(2 * BETWEEN_PROCESSES);
      if (possible.length > 0)
        await this.#breakProcess(possible[number % possible.length]!, victim, number >>> 4);
      await whileOn(isOn, wait);
      if (victims.every((each) => !each.isMortal) && !kinds.has('freeze')) return;
    }
  }

  async #breakProcess(kind: ProcessFault, victim: Victim, number: number): Promise<void> {
    const from = performance.now();
    // It counts from here on: what pages are told while it lasts has a cause.
    const fault: Fault = {
      kind,
      from,
      to: Number.POSITIVE_INFINITY,
      pages: this.#setup.pages.map(({ index }) => index),
      victim: victim.name,
    };
    if (kind === 'freeze') {
      if (!victim.freeze()) return;
      this.happened.push(fault);
      await pause(number % 3000);
      victim.thaw();
    } else {
      this.happened.push(fault);
      const hasEnded = kind === 'kill' ? await victim.kill() : await victim.terminate!();
      // There was none: what was not done does not count.
      if (!hasEnded) this.happened.splice(this.happened.indexOf(fault), 1);
      else await pause(number % 500);
      await victim.revive();
      if (!hasEnded) return;
    }
    fault.to = performance.now();
    for (const page of this.#setup.pages) page.expect();
  }

  #record(kind: FaultKind, pages: Page[], from: number): void {
    if (pages.length === 0) return;
    this.happened.push({ kind, from, to: performance.now(), pages: pages.map(({ index }) => index) });
    for (const page of pages) page.expect();
  }

  /** Whether a process was killed or started again after this moment, or is at this one. */
  hasEndedSince(time: number): boolean {
    return this.happened.some(({ kind, to }) => (kind === 'kill' || kind === 'restart') && to >= time);
  }
}

/** Waits for so many milliseconds, or less where it ends before. */
export async function whileOn(isOn: () => boolean, wait = Number.POSITIVE_INFINITY): Promise<void> {
  const end = performance.now() + wait;
  while (isOn() && performance.now() < end) await pause(Math.min(50, end - performance.now()));
}

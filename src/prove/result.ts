/** What a run amounts to: figures, what was not as it should be, and the verdict. */
import { type Fault, type FaultKind, faultKinds, possibleFaults } from './faults.ts';
import { figuresOf, type Review, total } from './ledger.ts';
import { Nearest } from './nearest.ts';
import type { Page } from './page.ts';
import { OwnProcess } from './processes.ts';
import type { Sender } from './sender.ts';
import type { TrialSettings } from './settings.ts';

export const TOOL = 'tidings prove';

/** What there is to say of a run that has proven nothing, neither that the server is good nor that it is not. */
export interface Unproven {
  tool: typeof TOOL;
  adapter: string;
  urls: string[];
  seed: number;
  /** Why. */
  failures: [string];
  verdict: 'unproven';
}

/** As it is shown: what follows the path may be a secret. */
export function shownUrl({ origin, pathname, host, protocol }: URL): string {
  return origin === 'null' ? `${protocol}//${host}${pathname}` : `${origin}${pathname}`;
}

/** What was seen that should not be. */
export interface Finding {
  what: 'lost' | 'duplicated' | 'reordered' | 'told in vain';
  page: string;
  /** The number of the message; of `told in vain`, of the last one that was accepted. */
  n: number;
  /** It was lost on every page of the user, of several: it is the server that did not keep it. */
  everyPage?: true;
  /** Milliseconds from the start: when it was accepted; of `told in vain`, when the page was told. */
  at: number;
  /**
   * The fault on this page that is nearest to that, and by how many milliseconds it came before. Where every page lacks the
   * message and processes were killed or frozen, it is one of these.
   */
  near?: { kind: Fault['kind']; before: number };
}

export interface KindOfFault {
  kind: Fault['kind'];
  /** How many times it has happened, and to how many pages in all. 0: it was to happen, and did not. */
  times: number;
  pages: number;
  /** Findings that are nearest to it. */
  lost: number;
  duplicated: number;
  reordered: number;
  /** Of `away`: messages that each of its pages has missed at the least. */
  messages?: number;
}

export interface Result {
  tool: typeof TOOL;
  adapter: string;
  urls: string[];
  /** ISO date of the start. */
  started: string;
  seconds: number;
  seed: number;
  /** Begins the names of the run's users: `prove-<run>-1`. */
  run: string;
  users: number;
  pages: number;
  messages: {
    accepted: number;
    /** Tries that failed and were made again with the same key. */
    repeated: number;
    /** Without an answer, and not sent again: they need not come. */
    unanswered: number;
  };
  /** Accepted messages that pages had to see, all pages together. */
  toBeSeen: number;
  lost: number;
  duplicated: number;
  reordered: number;
  told: {
    /** How many times a page was told that something is missing. */
    times: number;
    /** Messages that were missing, and that it was told of. */
    messages: number;
    /** Times at which nothing was. */
    inVain: number;
  };
  /** Sent again after the store had lost it, and seen twice, which pages were told of. */
  resent: number;
  /** Messages that came to a page of another user, and those that were not what was sent. */
  misdelivered: number;
  damaged: number;
  /** Pages that got nothing any more when all was well again. */
  notBack: string[];
  /** Milliseconds from the end of a fault until a page had a message that was sent after it. */
  recovery: { times: number; median: number; p99: number; longest: number } | undefined;
  faults: KindOfFault[];
  /** Processes that were started here and have ended by themselves. */
  crashes: { name: string; times: number }[];
  /** The first thousand, in their order in time. */
  findings: Finding[];
  isInterrupted: boolean;
  /** Why it has failed, as people say it; empty where it has passed. */
  failures: string[];
  verdict: 'passed' | 'failed';
  /** For the picture of the run. */
  timeline: {
    pages: string[];
    faults: { kind: Fault['kind']; from: number; to: number; pages: number[]; victim?: string }[];
  };
}

export interface Outcome extends Omit<TrialSettings, 'pages'> {
  run: string;
  pages: readonly Page[];
  senders: readonly Sender[];
  faults: readonly Fault[];
  /** By `performance.now()`. */
  started: number;
  /** The same moment by the clock. */
  begun: Date;
  seconds: number;
  isInterrupted: boolean;
}

const MOST_FINDINGS = 1000;
const MOST_FAULTS = 5000;

export function judge(outcome: Outcome): Result {
  const {
    pages,
    senders,
    faults,
    started,
    begun,
    adapter,
    urls,
    seed,
    run,
    seconds,
    isInterrupted,
    victims,
  } = outcome;
  const reviews = pages.map((page) => ({ page, found: page.review() }));
  const sum = total(reviews.map(({ found }) => figuresOf(found)));
  const findings = new Findings();
  for (const { page, found } of reviews) {
    const others = reviews.filter((other) => other.page !== page && other.page.user === page.user);
    const isEverywhere = (n: number): boolean =>
      others.length > 0 && others.every((other) => other.found.lost.has(n));
    for (const finding of findingsOf(page, found, isEverywhere, faults, started)) findings.add(finding);
  }
  const counts = senders.map((sender) => sender.counts);
  const add = (key: keyof (typeof counts)[number]): number =>
    counts.reduce((all, each) => all + each[key], 0);
  const possible = outcome.time > 0 ? possibleFaults(outcome.kinds, victims) : [];
  const kinds = [...faultKinds, 'away' as const]
    .map((kind) => kindOf(kind, faults, findings))
    .filter(({ kind, times }) => times > 0 || possible.some((each) => each === kind));
  const notBack = pages.filter(({ isBack }) => !isBack).map(({ name }) => name);
  const result: Omit<Result, 'failures' | 'verdict'> = {
    tool: TOOL,
    adapter: adapter.name,
    urls: urls.map(shownUrl),
    started: begun.toISOString(),
    seconds: Math.round(seconds * 10) / 10,
    seed,
    run,
    users: senders.length,
    pages: pages.length,
    messages: { accepted: add('accepted'), repeated: add('repeated'), unanswered: add('unanswered') },
    toBeSeen: sum.promised,
    lost: sum.lost,
    duplicated: pages.reduce((all, { moreRepeats }) => all + moreRepeats, sum.duplicated),
    reordered: sum.reordered,
    told: { times: sum.gaps, messages: sum.told, inVain: sum.vain },
    resent: sum.resent,
    misdelivered: pages.reduce((all, page) => all + page.misdelivered, 0),
    damaged: pages.reduce((all, page) => all + page.damaged, 0),
    notBack,
    recovery: recoveryOf(pages),
    faults: kinds,
    crashes: victims.flatMap((victim) =>
      victim instanceof OwnProcess && victim.crashes > 0
        ? [{ name: victim.name, times: victim.crashes }]
        : [],
    ),
    findings: findings.first,
    isInterrupted,
    timeline: {
      pages: pages.map(({ name }) => name),
      faults: faults.slice(0, MOST_FAULTS).map(({ kind, from, to, pages: hit, victim }) => ({
        kind,
        from: Math.round(from - started),
        to: Math.round(Math.min(to, started + seconds * 1000) - started),
        pages: hit,
        ...(victim !== undefined && { victim }),
      })),
    },
  };
  const failures = failuresOf(result, outcome);
  return { ...result, failures, verdict: failures.length === 0 ? 'passed' : 'failed' };
}

function failuresOf(
  result: Omit<Result, 'failures' | 'verdict'>,
  { away, senders, victims, isInterrupted }: Outcome,
): string[] {
  const { lost, duplicated, reordered, told, misdelivered, damaged, notBack, faults, toBeSeen } = result;
  const failures: string[] = [];
  const count = (n: number, what: string): void => {
    if (n > 0) failures.push(`${n.toLocaleString('en')} ${what}`);
  };
  count(lost, 'lost');
  count(duplicated, 'duplicated');
  count(reordered, 'reordered');
  count(
    told.inVain,
    `${told.inVain === 1 ? 'time' : 'times'} told that something is missing where nothing was`,
  );
  count(misdelivered, 'delivered to another user');
  count(damaged, 'not what was sent');
  if (notBack.length > 0) {
    const shown = notBack.slice(0, 3).join(', ');
    failures.push(
      `${notBack.length} of ${result.pages} pages did not come back: ${shown}${notBack.length > 3 ? ' …' : ''}`,
    );
    const refused = senders.find(({ lastFailure }) => lastFailure !== '');
    if (refused !== undefined)
      failures.push(`the server accepts no more messages to ${refused.user}: ${refused.lastFailure}`);
    for (const { trouble } of victims) if (trouble !== undefined) failures.push(trouble);
  }
  const missed = faults.find(({ kind }) => kind === 'away')?.messages;
  if (missed !== undefined && missed < away && !isInterrupted)
    failures.push(
      `a page was away for only ${missed.toLocaleString('en')} of ${away.toLocaleString('en')} messages, as no more were accepted in time`,
    );
  if (failures.length === 0 && faults.every(({ times }) => times === 0))
    failures.push('no fault has hit anything: this proves nothing');
  if (failures.length === 0 && toBeSeen === 0)
    failures.push('no message was to be seen: this proves nothing');
  return failures;
}

/** All that was found: how many about each kind of fault, and the first ones. */
class Findings {
  readonly #counts = new Map<string, number>();
  #kept: Finding[] = [];

  add(finding: Finding): void {
    const key = `${finding.what} ${finding.near?.kind}`;
    this.#counts.set(key, this.count(finding.what, finding.near?.kind) + 1);
    this.#kept.push(finding);
    if (this.#kept.length >= 100 * MOST_FINDINGS) this.#kept = this.first;
  }

  count(what: Finding['what'], kind: Fault['kind'] | undefined): number {
    return this.#counts.get(`${what} ${kind}`) ?? 0;
  }

  /** The first thousand, in their order in time. */
  get first(): Finding[] {
    return this.#kept.toSorted((a, b) => a.at - b.at).slice(0, MOST_FINDINGS);
  }
}

function* findingsOf(
  page: Page,
  { lost, duplicated, reordered, vain }: Review,
  isLostEverywhere: (n: number) => boolean,
  faults: readonly Fault[],
  started: number,
): Generator<Finding> {
  const mine = faults.filter(({ pages }) => pages.includes(page.index));
  const ofProcesses = mine.filter(({ victim }) => victim !== undefined);
  const nearest = new Nearest(mine);
  const nearestOfProcesses = ofProcesses.length > 0 ? new Nearest(ofProcesses) : nearest;
  const finding = (what: Finding['what'], n: number, moment: number): Finding => {
    const everyPage = what === 'lost' && isLostEverywhere(n);
    const near = (everyPage ? nearestOfProcesses : nearest).to(moment);
    return {
      what,
      page: page.name,
      n,
      ...(everyPage && { everyPage }),
      at: Math.round(moment - started),
      ...(near !== undefined && { near }),
    };
  };
  const acceptedAt = (n: number): number => page.sender.acceptedAt[n] ?? started;
  for (const n of lost) yield finding('lost', n, acceptedAt(n));
  for (const n of duplicated) yield finding('duplicated', n, acceptedAt(n));
  for (const n of reordered) yield finding('reordered', n, acceptedAt(n));
  for (const { promised, at } of vain) yield finding('told in vain', promised, at ?? started);
}

function kindOf(kind: FaultKind | 'away', faults: readonly Fault[], findings: Findings): KindOfFault {
  const mine = faults.filter((fault) => fault.kind === kind);
  const missed = mine.flatMap(({ messages }) => messages ?? []);
  return {
    kind,
    times: mine.length,
    pages: mine.reduce((all, { pages }) => all + pages.length, 0),
    lost: findings.count('lost', kind),
    duplicated: findings.count('duplicated', kind),
    reordered: findings.count('reordered', kind),
    ...(missed.length > 0 && { messages: Math.min(...missed) }),
  };
}

function recoveryOf(pages: readonly Page[]): Result['recovery'] {
  const all = pages.flatMap(({ recoveries }) => recoveries).sort((a, b) => a - b);
  if (all.length === 0) return undefined;
  const at = (part: number): number =>
    Math.round(all[Math.min(all.length - 1, Math.floor(all.length * part))]!);
  return { times: all.length, median: at(0.5), p99: at(0.99), longest: at(1) };
}

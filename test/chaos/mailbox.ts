/** A user whose pages read, archive and delete his mail while something breaks: what was promised of it has to be so. */
import { includes } from '../../src/pubsub/store/marks.ts';
import { InboxPage } from '../support/inbox-page.ts';
import { until } from '../support/net.ts';
import type { Instance } from './instances.ts';
import type { Stage } from './stage.ts';

const PAGES = 5;
/** Milliseconds. */
const PATIENCE = 60_000;
const PAUSE = 15;

type Fact = 'stored' | 'seen' | 'read' | 'archived' | 'gone';

/** What an instance says of a message. */
interface Listed {
  id: string;
  state: string;
  archived?: true;
}

export class Mailbox {
  readonly user: string;
  readonly pages: InboxPage[];
  /** By id: what was promised of the message. Nothing of it is ever taken back, so all of it has to be so in the end. */
  readonly #facts = new Map<string, Set<Fact>>();
  /** Ids of messages that somebody has replaced or deleted, perhaps without an answer. */
  readonly #mayBeGone = new Set<string>();
  readonly #stage: Stage;
  /** Marks that were answered, and those whose outcome is not known. */
  marked = 0;
  failed = 0;
  #turn = 0;
  #sent = 0;
  #isAtWork = true;
  #isHeld = false;
  #working: Promise<void>[] = [];
  #atWork = 0;

  constructor(stage: Stage, user: string) {
    this.user = user;
    this.#stage = stage;
    this.pages = Array.from({ length: PAGES }, (_, i) => new InboxPage(user, `page ${i} of ${user}`));
    for (const page of this.pages) page.open(() => `ws://127.0.0.1:${stage.front.port}/socketServer`, true);
    this.#working = [
      this.#repeat(() => this.#send()),
      ...this.pages.map((page) => this.#repeat(() => this.#mark(page))),
    ];
  }

  /** Waits until so many marks more are promised. */
  async more(marks: number): Promise<void> {
    const goal = this.marked + marks;
    await this.#stage.until(`${goal} marks of ${this.user}`, () => this.marked >= goal);
  }

  /** Nothing is sent or marked until `goOn`, and what was is promised or has failed. */
  async hold(): Promise<void> {
    this.#isHeld = true;
    await until('all that is under way', () => this.#atWork === 0, PATIENCE);
  }

  goOn(): void {
    this.#isHeld = false;
  }

  /** What was promised by now, for `forget`. */
  snapshot(): Map<string, Set<Fact>> {
    return new Map([...this.#facts].map(([id, facts]) => [id, new Set(facts)]));
  }

  /** The store has lost whatever came later. */
  forget(all: Map<string, Set<Fact>>): void {
    this.#facts.clear();
    for (const [id, facts] of all) this.#facts.set(id, new Set(facts));
  }

  /** How many times each page was told that messages are missing, and that marks are. */
  get told(): [gaps: number, rewinds: number][] {
    return this.pages.map(({ gaps, rewinds }) => [gaps.length, rewinds]);
  }

  /** Ends the work, waits until all agree, and says what is not as promised. */
  async judge(instances: Instance[]): Promise<void> {
    this.#isAtWork = false;
    await Promise.all(this.#working);
    const listed = await Promise.all(
      instances.map((one) => one.ask<{ messages: Listed[]; counts: unknown }>(`/inbox/${this.user}`)),
    );
    const [first, ...others] = listed.map((one) => JSON.stringify(one));
    this.#stage.check(
      others.every((other) => other === first),
      `instances list ${this.user} in different ways`,
    );
    const byId = new Map(listed[0]!.messages.map((message) => [message.id, message]));
    const wanted = shown(byId, listed[0]!.counts);
    for (const page of this.pages) {
      await until(`${page.name} to agree`, () => page.isReady && shownOn(page) === wanted, PATIENCE).catch(
        () => {
          this.#stage.check(false, `${page.name} shows ${shownOn(page)}, and the store has ${wanted}`);
        },
      );
      this.#stage.check(page.problems.length === 0, `${page.name}: ${page.problems[0]}`);
    }
    const missing: string[] = [];
    for (const [id, facts] of this.#facts) {
      const message = byId.get(id);
      if (message === undefined) {
        if (!facts.has('gone') && !this.#mayBeGone.has(id)) missing.push(`${id} is not there`);
      } else if (facts.has('gone')) missing.push(`${id} is not gone`);
      else for (const fact of facts) if (!isSo(fact, message)) missing.push(`${id} is not ${fact}`);
    }
    this.#stage.check(missing.length === 0, `${missing.length} promises broken, such as ${missing[0]}`);
    for (const page of this.pages) page.leave();
  }

  async #repeat(work: () => Promise<void>): Promise<void> {
    while (this.#isAtWork) {
      if (!this.#isHeld) {
        this.#atWork++;
        await work();
        this.#atWork--;
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }

  /** Until it is promised; some replace an earlier one. */
  async #send(): Promise<void> {
    const n = ++this.#sent;
    const replaces = n % 4 === 0 ? { replaces: `key ${n % 3}` } : {};
    for (;;) {
      const instance = this.#running();
      if (instance === undefined) return;
      try {
        const { id } = await instance.ask<{ id: string }>(`/send/user:${this.user}`, {
          method: 'POST',
          body: JSON.stringify({ data: { n }, key: `${this.user} ${n}`, ...replaces }),
          signal: AbortSignal.timeout(5000),
        });
        if (n % 4 === 0) this.#mayBeGone.add(id);
        this.#promise(id, 'stored');
        return;
      } catch {
        if (!this.#isAtWork) return;
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
  }

  async #mark(page: InboxPage): Promise<void> {
    if (!page.isReady) return;
    const turn = ++this.#turn;
    const newest = [...page.given].slice(-8);
    const [offset, given] = newest[turn % Math.max(1, newest.length)] ?? [];
    if (offset === undefined || given === undefined || page.position === undefined) return;
    const position = page.positionAt(offset);
    const as = (['read', 'read', 'archived', 'seen', 'read', 'deleted'] as const)[turn % 6]!;
    const isUpTo = turn % 5 === 0 && as !== 'deleted';
    // What was given by then is what is marked; whatever comes later may be, or not.
    const about = isUpTo
      ? [...page.given].filter(([at]) => at <= offset).map(([, { id }]) => id)
      : [given.id];
    if (as === 'deleted') this.#mayBeGone.add(given.id);
    try {
      await page.mark(as, isUpTo ? { upTo: position } : { messages: [position] });
      // A rewind in between has made the position one of another epoch, which changes nothing.
      if (page.position?.epoch !== position.epoch) return;
      this.marked++;
      for (const id of about) this.#promise(id, as === 'deleted' ? 'gone' : as);
    } catch {
      this.failed++;
    }
  }

  #promise(id: string, fact: Fact): void {
    const facts = this.#facts.get(id) ?? new Set();
    facts.add(fact);
    this.#facts.set(id, facts);
  }

  #running(): Instance | undefined {
    const running = this.#stage.instances.filter(({ isRunning }) => isRunning);
    return running[this.#sent % Math.max(1, running.length)];
  }
}

function isSo(fact: Fact, message: Listed): boolean {
  if (fact === 'archived') return message.archived === true;
  if (fact === 'read') return message.state === 'read';
  return fact === 'stored' || message.state !== 'unseen';
}

function shown(byId: Map<string, Listed>, counts: unknown): string {
  const all = [...byId.values()].map(
    ({ id, state, archived }) => `${id} ${state}${archived ? ', archived' : ''}`,
  );
  return `${all.sort().join('\n')}\n${JSON.stringify(counts)}`;
}

function shownOn(page: InboxPage): string {
  const { marks } = page;
  const byId = new Map<string, Listed>();
  for (const [offset, { id }] of page.given) {
    if (offset < page.first || includes(marks.gone, offset)) continue;
    const state = includes(marks.read, offset) ? 'read' : includes(marks.seen, offset) ? 'seen' : 'unseen';
    byId.set(id, { id, state, ...(includes(marks.archived, offset) && { archived: true }) });
  }
  return shown(byId, page.counts);
}

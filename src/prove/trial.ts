/** One run: pages are opened, messages sent, faults happen, everything heals, and what pages have seen is added up. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { isIn, pause, within } from '../waiting.ts';
import { Faults, whileOn } from './faults.ts';
import { Page } from './page.ts';
import { Payloads } from './payload.ts';
import { OwnProcess } from './processes.ts';
import { isSecure, reach } from './proxy.ts';
import { Random } from './random.ts';
import { judge, type Result, shownUrl } from './result.ts';
import { RunningTime } from './running-time.ts';
import { Sender } from './sender.ts';
import type { TrialSettings } from './settings.ts';

/** Nothing was proven, and the message says why. */
export class NoProofError extends Error {
  override name = 'NoProofError';
}

/** Milliseconds without any message after which one that others have overtaken does not come any more. */
const QUIET = 1000;
/** Milliseconds in which what comes twice comes. */
const LATE = 300;
/** Milliseconds that an adapter may take to close everything. */
const CLOSING = 5000;
/** Users of whom a page stays away. */
const AWAY_USERS = 2;
/** How many times as long as a page may take to come back may what it misses take. */
const AWAY_PATIENCE = 4;
/** Milliseconds after which a wait for an answer looks whether it is over. */
const LOOK = 250;

export class Trial {
  readonly #settings: TrialSettings;
  readonly #run = randomBytes(4).toString('hex');
  readonly #pages: Page[] = [];
  readonly #senders: Sender[];
  readonly #faults: Faults;
  readonly #payloads: Payloads;
  /** By it all that lasts for a time is measured. */
  readonly #time = new RunningTime();
  /** An address at which somebody has listened before anything was started here. */
  #other: string | undefined;
  #started = 0;
  /** By the clock on the wall. */
  #begun = new Date();

  constructor(settings: TrialSettings) {
    this.#settings = settings;
    this.#payloads = new Payloads(this.#run, settings.size);
    this.#senders = Array.from(
      { length: settings.users },
      (_, i) => new Sender(settings.adapter, `prove-${this.#run}-${i + 1}`, this.#run, this.#payloads),
    );
    const { victims, kinds, interval } = settings;
    this.#faults = new Faults({ pages: this.#pages, victims, kinds, interval });
  }

  /** @throws {NoProofError} */
  async play(): Promise<Result> {
    const { signal, victims } = this.#settings;
    const own = victims.filter((victim) => victim instanceof OwnProcess);
    if (own.length > 0) this.#other = await this.#otherServer();
    const checkWhose = (): void => {
      const ended = own.find(({ crashes }) => crashes > 0);
      if (this.#other === undefined || ended === undefined) return;
      const what = `another server was at ${this.#other} before ${ended.name} was started, which has ended by itself`;
      throw new NoProofError(`${what}:\n${ended.output.trimEnd()}`);
    };
    try {
      for (const victim of own) victim.start();
      await this.#open();
      await this.#warmUp();
      checkWhose();
      const free = this.#pages.find(({ proxy }) => proxy.arrivals.length === 0);
      if (free !== undefined) {
        const why = 'the adapter has to connect to the url that it is given';
        throw new NoProofError(`${free.name} has no connection that could be broken: ${why}`);
      }
      this.#started = performance.now();
      this.#begun = new Date();
      await this.#phases();
      checkWhose();
    } finally {
      this.#time.end();
      for (const sender of this.#senders) sender.end();
      // What an adapter makes of it is no result.
      await within(CLOSING, this.#close());
      for (const victim of victims) victim.thaw();
      await Promise.all(own.map((victim) => victim.stop()));
    }
    return judge({
      ...this.#settings,
      run: this.#run,
      pages: this.#pages,
      senders: this.#senders,
      faults: this.#faults.happened,
      started: this.#started,
      begun: this.#begun,
      seconds: (performance.now() - this.#started) / 1000,
      isInterrupted: signal.aborted,
    });
  }

  /** An address at which somebody listens. */
  async #otherServer(): Promise<string | undefined> {
    const { urls, patience } = this.#settings;
    const found = await Promise.all(
      urls.map(async (url) => {
        const socket = reach({ url });
        const event = isSecure({ url }) ? 'secureConnect' : 'connect';
        const isThere = within(patience * 1000, once(socket, event)).then((answer) => answer !== undefined);
        const answers = await isThere.finally(() => socket.destroy());
        return answers ? shownUrl(url) : undefined;
      }),
    );
    return found.find((url) => url !== undefined);
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#pages.map((page) => page.close()));
    await this.#settings.adapter.close?.();
  }

  /** Opens every page, and waits until each is connected. */
  async #open(): Promise<void> {
    const { adapter, pages, patience, say } = this.#settings;
    const interruption = this.#interruption();
    const deadline = this.#time.now + patience * 1000;
    for (const sender of this.#senders) {
      for (let i = 0; i < pages; i++) {
        const page = await this.#create(sender);
        this.#pages.push(page);
        const opening = Promise.race([page.open(adapter), interruption]);
        if (!(await isIn(opening, deadline - this.#time.now)))
          throw new NoProofError(`the adapter has not opened a page in ${patience} s`);
      }
    }
    say(`${this.#pages.length} pages`);
    await this.#until(
      () => this.#pages.every(({ isConnected }) => isConnected),
      () => {
        const [first, ...more] = this.#pages.filter(({ isConnected }) => !isConnected);
        const others = more.length === 0 ? ' has' : ` and ${more.length} more have`;
        const { proxy, fault, name } = first!;
        const silence = proxy.arrivals.length === 0 ? 'the adapter has made none' : 'there is no answer';
        return `${name}${others} no connection: ${proxy.refusal ?? fault ?? silence}`;
      },
    );
  }

  async #create(sender: Sender): Promise<Page> {
    try {
      return await Page.create({
        index: this.#pages.length,
        sender,
        urls: this.#settings.urls,
        payloads: this.#payloads,
        isExcused: (since) => this.#faults.hasEndedSince(since),
      });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EMFILE') throw error;
      const advice = 'give fewer --users or --pages, or a higher limit (ulimit -n)';
      throw new NoProofError(`page ${this.#pages.length + 1} takes more files than may be open: ${advice}`);
    }
  }

  /** Sends to each user until all his pages have seen something: from there on it counts. */
  async #warmUp(): Promise<void> {
    const fail = (): string => {
      const refused =
        this.#senders.find(({ isRefused }) => isRefused) ?? this.#senders.find(({ last }) => last === 0);
      if (refused !== undefined)
        return `no message was accepted: ${refused.lastFailure === '' ? 'there is no answer' : refused.lastFailure}`;
      const deaf = this.#pages.filter(({ first }) => first === undefined);
      const wrong = deaf.some((page) => page.damaged + page.misdelivered > 0);
      const { stranger } = deaf[0]!;
      const but = wrong
        ? ' but some that were not what was sent to the user'
        : stranger === undefined
          ? ''
          : `, but others, such as ${stranger}`;
      return `${deaf[0]!.name} got nothing of ${deaf[0]!.sender.last} messages${but}`;
    };
    // A page may see what its sender has no answer for yet.
    const isReadyOf = ({ first, sender }: Page): boolean => first !== undefined && sender.last > 0;
    const isReady = (): boolean => this.#pages.every(isReadyOf);
    const isRefused = (): boolean => this.#senders.some((sender) => sender.isRefused);
    let isOver = false;
    const sending = Promise.all(
      this.#senders.map(async (sender) => {
        const pages = this.#pages.filter(({ user }) => user === sender.user);
        while (!isOver && !sender.isRefused && !pages.every(isReadyOf)) {
          await sender.next();
          await pause(20);
        }
      }),
    );
    try {
      await this.#until(() => isRefused() || isReady(), fail);
      if (isRefused()) throw this.#noProof(fail());
    } finally {
      isOver = true;
      if (!isReady()) for (const sender of this.#senders) sender.end();
      // One that is not accepted now is waited for later.
      await isIn(sending, this.#settings.patience * 1000);
    }
  }

  async #phases(): Promise<void> {
    const { time, away, say, signal, seed } = this.#settings;
    if (time > 0 && !signal.aborted) {
      say(`${time} s of faults, seed ${seed}`);
      await this.#breakThings(this.#time.now + time * 1000);
    }
    await this.#settle();
    if (away > 0 && !signal.aborted) {
      say(`a page stays away for ${away} messages`);
      await this.#stayAway(away);
      await this.#settle();
    }
    await this.#calmDown();
  }

  async #breakThings(until: number): Promise<void> {
    const { seed, signal, interval, patience } = this.#settings;
    // What is chosen for one does not depend on how fast the others are.
    const randoms = Array.from({ length: this.#senders.length + 2 }, (_, i) => new Random(seed + i * 7919));
    const isOn = (): boolean => this.#time.now < until && !signal.aborted;
    const sending = this.#senders.map(async (sender, i) => {
      while (isOn()) {
        await sender.next(this.#faults.timing(sender.user, randoms[i]!));
        await pause(interval);
      }
    });
    const [forLines, forProcesses] = randoms.slice(-2) as [Random, Random];
    await Promise.all([
      this.#faults.breakConnections(isOn, forLines),
      this.#faults.breakProcesses(isOn, forProcesses),
      // Those that go with a message last as long as the sending.
      whileOn(isOn),
    ]);
    // What the server does not accept now is waited for in the next phase.
    await isIn(Promise.all(sending), patience * 1000);
  }

  /** Everything is as it should be; goes on sending until every page has a message that was sent after that. */
  async #settle(): Promise<void> {
    const { patience, interval, say } = this.#settings;
    for (const page of this.#pages) {
      page.heal();
      page.expect();
    }
    const deadline = this.#time.now + patience * 1000;
    const missing = (): Page[] => this.#pages.filter(({ isBack }) => !isBack);
    const isOn = (user: string): boolean =>
      this.#time.now < deadline && missing().some((page) => page.user === user);
    if (missing().length > 0) say('all is well again: pages have to come back');
    await Promise.all(
      this.#senders.map(async (sender) => {
        while (isOn(sender.user)) {
          await isIn(sender.next(), deadline - this.#time.now);
          await pause(Math.max(interval, 5));
        }
      }),
    );
  }

  /** A page of some users has no network for so many messages. */
  async #stayAway(messages: number): Promise<void> {
    const { signal, seed, patience } = this.#settings;
    const random = new Random(seed + 104_729);
    const senders = [...this.#senders];
    const deadline = this.#time.now + AWAY_PATIENCE * patience * 1000;
    const from = performance.now();
    const gone = Array.from({ length: Math.min(AWAY_USERS, senders.length) }, () => {
      const [sender] = senders.splice(random.below(senders.length), 1) as [Sender];
      const page = random.pick(this.#pages.filter(({ user }) => user === sender.user));
      return { sender, page };
    });
    for (const { page } of gone) {
      page.proxy.refuses = true;
      page.proxy.cut();
    }
    const sent = await Promise.all(
      gone.map(async ({ sender }) => {
        const { counts } = sender;
        const before = counts.accepted;
        while (counts.accepted - before < messages && this.#time.now < deadline && !signal.aborted)
          await isIn(sender.next(), LOOK);
        return counts.accepted - before;
      }),
    );
    for (const { page } of gone) page.heal();
    this.#faults.happened.push({
      kind: 'away',
      from,
      to: performance.now(),
      pages: gone.map(({ page }) => page.index),
      messages: Math.min(...sent),
    });
  }

  /** Waits until every page has everything, or what it lacks does not come any more. */
  async #calmDown(): Promise<void> {
    const deadline = this.#time.now + this.#settings.patience * 1000;
    let lastSign = 0;
    let since = this.#time.now;
    const back = this.#pages.filter(({ isBack }) => isBack);
    const enough = (): number => {
      // A server may deliver once in some seconds: the last ones are late, not lost.
      if (back.some((page) => page.highest < page.sender.last)) return Number.POSITIVE_INFINITY;
      return back.every(({ isWhole }) => isWhole) ? LATE : QUIET;
    };
    for (;;) {
      const { now } = this.#time;
      const sign = Math.max(0, ...back.map((page) => page.lastSign));
      if (sign !== lastSign) since = now;
      lastSign = sign;
      if (now > deadline || now - since >= enough()) return;
      await pause(20);
    }
  }

  /** Rejects when the run is interrupted. */
  #interruption(): Promise<never> {
    const { signal } = this.#settings;
    const interruption = new Promise<never>((_resolve, reject) => {
      const onAbort = (): void => reject(signal.reason);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
    // It may come when nobody waits for it any more.
    interruption.catch(() => {});
    return interruption;
  }

  /** @throws {NoProofError} where it doesn't come true in time */
  async #until(condition: () => boolean, failure: () => string): Promise<void> {
    const { patience, signal } = this.#settings;
    const deadline = this.#time.now + patience * 1000;
    while (!condition()) {
      signal.throwIfAborted();
      if (this.#time.now > deadline) throw this.#noProof(failure());
      await pause(10);
    }
  }

  /** With what people have to know besides. */
  #noProof(why: string): NoProofError {
    const troubles = this.#settings.victims.flatMap(({ trouble, output }) => {
      if (trouble === undefined) return [];
      return [output === '' ? trouble : `${trouble}:\n${output.trimEnd()}`];
    });
    if (this.#other !== undefined)
      troubles.unshift(`another server was at ${this.#other} before any was started here`);
    return new NoProofError([why, ...troubles].join('\n'));
  }
}

/** One page under proof: its line to the server, which can be broken, and what its application saw. */
import type { Adapter, AdapterPage, PageEvents } from './adapter.ts';
import { Ledger, type Review } from './ledger.ts';
import type { Payloads } from './payload.ts';
import { TcpProxy } from './proxy.ts';
import type { Sender } from './sender.ts';

export interface PageSetup {
  index: number;
  /** Who sends to its user. */
  sender: Sender;
  urls: readonly URL[];
  payloads: Payloads;
  /** Something has happened lately for which the server may tell anybody that messages are missing. */
  isExcused(since: number): boolean;
}

/** What comes again, and what is told, beyond so many of a page is counted and no more: a server may flood it. */
const MOST_REPEATS = 10_000;
/** Characters of a message that people are shown. */
const SHOWN = 120;

/** A wait for the first message that was sent after a fault was over. */
interface Wait {
  since: number;
  first: number;
}

export class Page {
  readonly index: number;
  readonly user: string;
  readonly sender: Sender;
  readonly proxy: TcpProxy;
  /** Milliseconds from the end of a fault until a message came that was sent after it. */
  readonly recoveries: number[] = [];
  /** Messages of another user, and those that are not what was sent. */
  misdelivered = 0;
  damaged = 0;
  /** Messages that came once more, beyond those in its review. */
  moreRepeats = 0;
  /** The first message that is none of this run. */
  stranger: string | undefined;
  connections = 0;
  isConnected = false;
  /** Why it has lost its connection the last time, or could not get one. */
  fault: string | undefined;
  /** When something came the last time. */
  lastSign = performance.now();
  readonly #setup: PageSetup;
  #waits: Wait[] = [];
  #handle: AdapterPage | undefined;
  #isClosed = false;
  readonly #ledger: Ledger;
  #repeats = 0;
  #tellings = 0;
  #toldAt = performance.now();

  private constructor(setup: PageSetup, proxy: TcpProxy) {
    this.index = setup.index;
    this.user = setup.sender.user;
    this.sender = setup.sender;
    this.#setup = setup;
    this.#ledger = new Ledger({ open: setup.sender.open });
    this.proxy = proxy;
  }

  /** With its line, and not open yet. */
  static async create(setup: PageSetup): Promise<Page> {
    // Each begins with another instance.
    const { urls, index } = setup;
    const targets = urls.map((_, i) => ({ url: urls[(i + index) % urls.length]! }));
    return new Page(setup, await TcpProxy.start(() => targets));
  }

  /** @throws {Error} where the adapter can't open it */
  async open(adapter: Adapter): Promise<void> {
    const handle = await adapter.open({ user: this.user, url: this.#url }, this.#events);
    // The run may be over by now.
    if (this.#isClosed) await handle.close();
    else this.#handle = handle;
  }

  /** How people call it. */
  get name(): string {
    return `page ${this.index + 1} of ${this.user}`;
  }

  /** Whether it has seen a message that was sent after the last fault was over. */
  get isBack(): boolean {
    return this.#waits.length === 0;
  }

  /** The first message that it has seen, from which on they count. */
  get first(): number | undefined {
    return this.#ledger.first;
  }

  /** The number of the last message that it has seen, whatever came before. */
  get highest(): number {
    return this.#ledger.last;
  }

  /** Whether it has seen all messages from the first to the highest; some of which need not come. */
  get isWhole(): boolean {
    return this.#ledger.isWhole;
  }

  /** At the end: what it has seen, and what not. What it never got back for is counted as such, and not as lost. */
  review(): Review {
    return this.#ledger.close(this.isBack ? this.sender.last : this.highest);
  }

  /** A fault that may have stopped its messages is over: it has to get what is sent from now on. */
  expect(): void {
    this.#waits.push({ since: performance.now(), first: this.sender.current + 1 });
  }

  /** The line is as it should be. What was half-open is reset, as a network does in the end. */
  heal(): void {
    this.proxy.refuses = false;
    this.proxy.delay = 0;
    this.proxy.rate = Number.POSITIVE_INFINITY;
    this.proxy.throttle(Number.POSITIVE_INFINITY);
    this.proxy.cut({ isFrozen: true });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    try {
      await this.#handle?.close();
    } finally {
      await this.proxy.close();
    }
  }

  /** The first address, but plain and at the proxy. */
  get #url(): string {
    const url = new URL(this.#setup.urls[0]!);
    const plain = url.protocol.replace(/^(http|ws)s:$/, '$1:');
    return url.href.replace(/^[a-z]+:\/\/(?:[^/?#@]*@)?[^/?#]*/, `${plain}//127.0.0.1:${this.proxy.port}`);
  }

  readonly #events: PageEvents = {
    connected: () => {
      this.connections++;
      this.isConnected = true;
    },
    disconnected: (why) => {
      this.isConnected = false;
      this.fault = why;
    },
    message: (text, id) => {
      const n = this.#setup.payloads.read(text, this.user);
      if (n === 'damaged') this.damaged++;
      else if (n === 'misdelivered') this.misdelivered++;
      else if (n === 'foreign') this.stranger ??= String(text).slice(0, SHOWN);
      if (typeof n === 'string') return;
      this.lastSign = performance.now();
      if (this.#ledger.has(n) && this.#repeats++ >= MOST_REPEATS) {
        this.moreRepeats++;
        return;
      }
      this.#ledger.see({ kind: 'message', n, id: id ?? '' });
      if (this.#waits.length === 0) return;
      for (const { since, first } of this.#waits) if (n >= first) this.recoveries.push(this.lastSign - since);
      this.#waits = this.#waits.filter(({ first }) => n < first);
    },
    told: (reason) => {
      this.lastSign = performance.now();
      if (this.#tellings++ >= MOST_REPEATS) return;
      const isExcused = this.#setup.isExcused(this.#toldAt);
      this.#toldAt = this.lastSign;
      const { lastSign: at, sender } = this;
      this.#ledger.see({ kind: 'gap', reason: reason ?? '', promised: sender.last, isExcused, at });
    },
  };
}

/** What a scenario plays on: a store, instances, pages behind a proxy, and a publisher that never gives up. */

import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectOptions } from '../../src/client/core.ts';
import { PushServer, type PushServerOptions } from '../../src/index.ts';
import { type Account, account, total } from '../../src/prove/ledger.ts';
import { TcpProxy } from '../../src/prove/proxy.ts';
import { until } from '../support/net.ts';
import {
  type ClusterGroup,
  type SentinelGroup,
  startCluster,
  startSentinels,
} from '../support/redis-groups.ts';
import { directSocket } from './direct.ts';
import { type Feed, type FeedKind, feeds } from './feeds.ts';
import { Instance, instanceProgram } from './instances.ts';
import { LonePostgres } from './lone-postgres.ts';
import { type Breakage, lastOf, openPage, type Page } from './page.ts';
import { Publisher, type Send } from './publisher.ts';
import { brokerOf, type StoreKind, type StoreTarget } from './store-target.ts';
import { type LoneStore, startLone } from './stores.ts';

/** The long form proves more; the short one is for every change. */
export interface Plan {
  /** Of stores that stand alone. */
  store: StoreKind;
  messages: number;
  isShort: boolean;
  seed: number;
  /** Seconds for what has no end of its own. */
  time: number;
  broken?: Breakage;
  /** Says what happens. */
  say(text: string): void;
}

export interface Setting {
  /** Default 2. */
  instances?: number;
  /**
   * One that stands alone, behind a proxy: `volatile` (default), which may lose everything when it is killed, or `durable`,
   * which keeps what it has confirmed. Or a group of Redis servers, which instances reach without a proxy.
   */
  store?: 'volatile' | 'durable' | 'sentinels' | 'cluster';
  /** Who sends: a process that only sends, or the instances themselves (default), in turn. */
  sender?: 'own' | 'instances';
  /** Messages are sent to a source, and the instances read them there. Default: they are sent to the store. */
  feed?: FeedKind;
  users?: number;
  /** Of each user. Default 2. */
  pages?: number;
  /** Default: one. */
  topics?: string[];
  /** Milliseconds that SIGTERM gives sessions to go. Default 1,000. */
  drain?: number;
  options?: PushServerOptions;
  /** Milliseconds that an interceptor of the instances takes over each handshake. Default: there is none. */
  handshakeTime?: number;
  /** The proxy in front reaches the instances over Unix sockets, where hardly anything is on its way in the kernel. */
  isThin?: boolean;
  /** Pages dial the instances themselves, without the proxy in front: for thousands of them. */
  isDirect?: boolean;
  /** Of all pages, or of each by its index. */
  client?: ConnectOptions | ((i: number) => ConnectOptions);
  /** Milliseconds between a promise and the next message of its stream. Default 8. */
  interval?: number;
  /** Milliseconds after which the publisher gives an attempt up and makes another, through another instance. */
  impatience?: number;
  /** Bytes by which each message is larger. Default 0. */
  padding?: number;
  /** Messages at the least. Default: as the plan says. */
  messages?: number;
  /** The store can't be reached for some time from when the instances start. */
  outageAtStart?: boolean;
  /** The application's callbacks misbehave for who asks for it (see instance.ts). */
  isFaulty?: boolean;
}

interface Store {
  lone?: LoneStore;
  sentinels?: SentinelGroup;
  cluster?: ClusterGroup;
}

async function startStore(plan: Plan, kind: NonNullable<Setting['store']>): Promise<Store> {
  if (plan.store === 'memory') return {};
  if (plan.store === 'cluster') return { cluster: await startCluster() };
  if (kind === 'sentinels') return { sentinels: await startSentinels() };
  if (kind === 'cluster') return { cluster: await startCluster() };
  return { lone: await startLone(plan.store, kind === 'durable') };
}

/** Pages that connect at once at the beginning. A listener's queue is not endless. */
const CONNECTING = 300;
/** Milliseconds of the outage at the start: longer than the first tries to connect take. */
const OUTAGE = 1_500;
/** A page that is not back by then has lost what it lacks. */
const PATIENCE = 60_000;

export class Stage {
  readonly plan: Plan;
  readonly instances: Instance[] = [];
  readonly pages: Page[] = [];
  /** Between the pages and the instances. */
  readonly front: TcpProxy;
  /** The moments at which pages came, at the proxy or as they dialled. */
  readonly arrivals: number[];
  /** Between the instances and a store that stands alone. */
  readonly back: TcpProxy;
  readonly publisher: Publisher;
  /** What a scenario wants to have said beside the figures. */
  readonly notes: string[] = [];
  /** What was not as promised beside the messages. */
  readonly failures: string[] = [];
  /** Milliseconds from a fault, or its end where it has one, until every page had a message sent after that. */
  readonly recoveries: number[] = [];
  /** Where new connections to a store that stands alone go, once that isn't where it began. */
  storePort: number | undefined;
  readonly #setting: Setting;
  readonly #store: Store;
  readonly #topics: string[];
  readonly #clientOf: (i: number) => ConnectOptions;
  /** By user: messages that are not the publisher's, which a scenario has sent. */
  readonly foreignSent = new Map<string, number>();
  readonly #stops: (() => Promise<void>)[] = [];
  #startBeside: (store: StoreTarget) => Promise<Instance> = () => Promise.reject(new Error('not set yet'));
  #ownSender: PushServer | undefined;
  #feed: Feed | undefined;
  #turn = 0;

  private constructor(plan: Plan, setting: Setting, front: TcpProxy, back: TcpProxy, store: Store) {
    this.plan = { ...plan, messages: setting.messages ?? plan.messages };
    this.#setting = setting;
    this.front = front;
    this.arrivals = setting.isDirect ? [] : front.arrivals;
    const direct = directSocket(() => this.#running.map(({ port }) => port), this.arrivals);
    const { client } = setting;
    this.#clientOf = (i) => ({
      ...(typeof client === 'function' ? client(i) : client),
      ...(setting.isDirect && { WebSocket: direct }),
    });
    this.back = back;
    this.#store = store;
    // Plain mode has only the user's own messages.
    this.#topics = plan.broken === 'doorbell' ? [] : (setting.topics ?? ['news']);
    const users = Array.from({ length: setting.users ?? 3 }, (_, i) => `u${i + 1}`);
    const streams = [...users.map((user) => `user:${user}`), ...this.#topics];
    this.publisher = new Publisher(streams, setting.interval ?? 8, setting.padding ?? 0, this.send);
  }

  /** With everything started, every page connected, and the first messages seen by all. */
  static async set(plan: Plan, setting: Setting = {}): Promise<Stage> {
    const store = await startStore(plan, setting.store ?? 'volatile');
    let stage: Stage | undefined;
    const back = await TcpProxy.start(() => {
      const port = stage?.storePort ?? store.lone?.port;
      return port === undefined ? [] : [port];
    });
    if (store.lone !== undefined) back.label = store.lone.label;
    const front = await TcpProxy.start(() => stage!.#running.map(({ port, path }) => path ?? port));
    stage = new Stage(plan, setting, front, back, store);
    try {
      const { lone } = store;
      const own = lone instanceof LonePostgres ? lone.server : undefined;
      if (setting.feed !== undefined) stage.#feed = await feeds[setting.feed](own);
      const program = await instanceProgram();
      const settings = {
        store: stage.store,
        drain: setting.drain ?? 1000,
        options: {
          retention: { inbox: { maxMessages: 100_000 }, topic: { maxMessages: 100_000 } },
          ...setting.options,
        },
        ...(setting.handshakeTime !== undefined && { handshakeTime: setting.handshakeTime }),
        ...(setting.isFaulty && { isFaulty: true }),
        ...(stage.#feed !== undefined && { sources: stage.#feed.urls }),
      };
      stage.#startBeside = (store) => Instance.start(program, { ...settings, store });
      back.refuses = setting.outageAtStart ?? false;
      const starting = Array.from(
        { length: plan.store === 'memory' ? 1 : (setting.instances ?? 2) },
        (_, i) =>
          Instance.start(program, {
            ...settings,
            ...(setting.isThin && { path: join(tmpdir(), `tidings-chaos-${process.pid}-${i}.sock`) }),
          }),
      );
      if (back.refuses) {
        await new Promise((resolve) => setTimeout(resolve, OUTAGE));
        back.refuses = false;
      }
      stage.instances.push(...(await Promise.all(starting)));
      for (const user of stage.users) {
        for (let i = 0; i < (setting.pages ?? 2); i++) stage.open(user);
        await until('pages to be connected', () => stage.connecting < CONNECTING, PATIENCE);
      }
      await until('every page to be connected', () => stage.connecting === 0, PATIENCE);
      stage.publisher.start();
      await stage.until('the first messages', () => stage.isLevel(1));
      return stage;
    } catch (error) {
      await stage.close();
      throw error;
    }
  }

  get store(): StoreTarget {
    const { lone, sentinels, cluster } = this.#store;
    if (this.plan.store === 'memory') return { kind: 'memory' };
    return lone?.at(this.back.port) ?? { kind: 'redis', target: (sentinels ?? cluster)!.target };
  }

  /** The one that stands alone. */
  get feed(): Feed {
    return this.#feed!;
  }

  get lone(): LoneStore {
    return this.#store.lone!;
  }

  get sentinels(): SentinelGroup {
    return this.#store.sentinels!;
  }

  get cluster(): ClusterGroup {
    return this.#store.cluster!;
  }

  get #running(): Instance[] {
    return this.instances.filter((one) => one.isRunning);
  }

  /** How many pages are not connected. */
  get connecting(): number {
    return this.pages.reduce((sum, page) => sum + Number(!page.isConnected), 0);
  }

  /** Sessions of all instances. */
  async sessions(): Promise<number> {
    const answers = await Promise.all(this.#running.map((one) => one.ask<{ sessions: number }>('/stats')));
    return answers.reduce((sum, { sessions }) => sum + sessions, 0);
  }

  get users(): string[] {
    return [...this.publisher.promised.keys()]
      .filter((stream) => stream.startsWith('user:'))
      .map((stream) => stream.slice('user:'.length));
  }

  /**
   * Opens a page whose messages count.
   *
   * @param earlier the page of the same device that was there before: what both see counts as seen by one
   */
  open(user: string, client: ConnectOptions = {}, earlier?: Page): Page {
    const page = openPage({
      failed: (what) => this.check(false, `a page was told of an error: ${what}`),
      url: `ws://127.0.0.1:${this.front.port}/socketServer`,
      user,
      topics: this.#topics,
      promised: (stream) => this.publisher.promised.get(stream)!,
      ...(this.plan.broken !== undefined && { broken: this.plan.broken }),
      client: {
        ...this.#clientOf(earlier === undefined ? this.pages.length : this.pages.indexOf(earlier)),
        ...client,
      },
      ...(earlier !== undefined && { seen: earlier.seen }),
    });
    if (earlier === undefined) this.pages.push(page);
    else this.pages[this.pages.indexOf(earlier)] = page;
    return page;
  }

  /** Resolves when the message is promised. */
  readonly send: Send = (stream, data, idempotencyKey) => {
    if (this.#feed !== undefined)
      return this.#feed.send(stream, data, idempotencyKey).then(() => ({ duplicate: false }));
    if (this.#setting.sender === 'own' && this.plan.store !== 'memory') {
      this.#ownSender ??= new PushServer({ broker: brokerOf(this.store), log: () => {} });
      return stream.startsWith('user:')
        ? this.#ownSender.send(stream.slice('user:'.length), data, { idempotencyKey })
        : this.#ownSender.publish(stream, data, { idempotencyKey });
    }
    const { impatience } = this.#setting;
    const running = this.#running;
    const instance = running[this.#turn++ % running.length];
    if (instance === undefined) return Promise.reject(new Error('no instance is running'));
    return instance.ask(`/send/${encodeURIComponent(stream)}`, {
      method: 'POST',
      body: JSON.stringify({ data, key: idempotencyKey }),
      ...(impatience !== undefined && { signal: AbortSignal.timeout(impatience) }),
    });
  };

  /** Waits with the patience of the runner. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<unknown> {
    return until(
      what,
      () => {
        this.#look();
        return condition();
      },
      PATIENCE,
    );
  }

  /** @throws {Error} where an instance has ended by itself: nothing that is waited for need come any more */
  #look(): void {
    for (const { hasCrashed, log } of this.instances)
      if (hasCrashed) throw new Error(`an instance has ended by itself:\n${log.slice(-2000)}`);
  }

  /** Waits until so many more messages are promised as this part of all that the plan wants. */
  async more(part: number): Promise<void> {
    const goal = this.publisher.total + this.plan.messages * part;
    await until(
      `${goal} promises (last failure: ${this.publisher.lastFailure})`,
      () => {
        this.#look();
        return this.publisher.total >= goal;
      },
      120_000,
    );
  }

  /** Whether each page has seen the message that `goals` names for each of its streams, or a later one. */
  isLevelWith(goals: Map<string, number>, pages = this.pages): boolean {
    return pages.every((page) =>
      [...page.seen.keys()].every((stream) => lastOf(page, stream) >= goals.get(stream)!),
    );
  }

  /** Whether each page has seen message `n`, or a later one, of each of its streams. */
  isLevel(n: number): boolean {
    return this.pages.every((page) => [...page.seen.keys()].every((stream) => lastOf(page, stream) >= n));
  }

  /**
   * Call it when a fault has begun that lasts, or ended where it has an end: measures until every page has a
   * message that was sent after that. False if they didn't get there.
   */
  async recovered(pages = this.pages): Promise<boolean> {
    const start = performance.now();
    // The next one of each stream may be on its way already.
    const isThere = await this.#arrived(pages, 2);
    this.recoveries.push(performance.now() - start);
    return isThere;
  }

  /** Whether each page gets so many messages more than are promised now. */
  #arrived(pages: Page[], more: number): Promise<boolean> {
    const goals = new Map([...this.publisher.promised].map(([stream, n]) => [stream, n + more]));
    return until('all pages to have everything', () => this.isLevelWith(goals, pages), PATIENCE).then(
      () => true,
      () => false,
    );
  }

  note(text: string): void {
    this.notes.push(text);
  }

  check(isSo: boolean, what: string): void {
    if (!isSo) this.failures.push(what);
  }

  /** Sends what the plan still wants, waits for the pages, and adds up. */
  async finish(): Promise<Account> {
    const rest = this.plan.messages - this.publisher.total;
    if (rest > 0) await this.more(rest / this.plan.messages);
    await this.publisher.stop();
    await this.#arrived(this.pages, 0);
    // What comes twice comes late.
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (const { errors, user } of this.pages) {
      const what = `a page of ${user} was told of ${errors.length} errors, such as ${errors[0]}`;
      this.check(errors.length === 0, what);
    }
    this.#look();
    return this.account();
  }

  account(pages = this.pages): Account {
    return total(
      pages.flatMap((page) =>
        [...page.seen].map(([stream, seen]) => account(seen, this.publisher.promised.get(stream)!)),
      ),
    );
  }

  /** One more instance, which the pages of the stage do not come to, with a way of its own to the store. */
  async beside(store: StoreTarget): Promise<Instance> {
    const instance = await this.#startBeside(store);
    this.atEnd(() => instance.kill());
    return instance;
  }

  /** What a scenario has started beside, and ends when everything else has. */
  atEnd(stop: () => Promise<void>): void {
    this.#stops.push(stop);
  }

  async close(): Promise<void> {
    void this.publisher.stop().catch(() => {});
    for (const page of this.pages) page.close();
    await Promise.all(this.instances.map((instance) => instance.kill()));
    await this.#ownSender?.close();
    await this.#feed?.stop();
    await Promise.all([this.front.close(), this.back.close()]);
    const { lone, sentinels, cluster } = this.#store;
    await (lone ?? sentinels ?? cluster)?.stop();
    for (const stop of this.#stops) await stop();
  }
}

/**
 * An inbox through real push servers and its model: any interleaving of sends, marks, withdrawals, time, losses of the store,
 * instances that end and pages that come and go. After each step, the five pages of the user, a plain one that is told
 * counts, and whoever asks a server agree on every state and every count.
 */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import pg from 'pg';
import { WebSocket } from 'ws';
import { postgresBroker, redisBroker } from '../../../src/index.ts';
import { RespClient } from '../../../src/pubsub/redis/resp-client.ts';
import type { Broker, Position } from '../../../src/pubsub/store/broker.ts';
import type { MarkAs } from '../../../src/pubsub/store/marks.ts';
import { MemoryStore, memoryBroker } from '../../../src/pubsub/store/memory-broker.ts';
import type { HistoryState } from '../../../src/push/talk/wire.ts';
import { Recorder } from '../../pubsub/store/broker-suite.ts';
import { keysOf, rewindKeys, saveKeys } from '../../pubsub/store/channel-keys.ts';
import { InboxModel, said, stateOf } from '../../pubsub/store/inbox-model.ts';
import { Dice } from '../../pubsub/store/inbox-play.ts';
import { ChannelRows, prepareRows } from '../../pubsub/store/postgres-rows.ts';
import { InboxPage } from '../../support/inbox-page.ts';
import { until } from '../../support/net.ts';
import { startPostgres } from '../../support/postgres.ts';
import { needs } from '../../support/programs.ts';
import { startRedis } from '../../support/redis.ts';
import { type Running, startPush } from '../support.ts';

/** Replay one by INBOX_PLAY_SEED=4711 INBOX_PLAY_RUNS=1. */
const SEED = Number(process.env['INBOX_PLAY_SEED'] ?? Date.now() % 1e9);
const RUNS = Number(process.env['INBOX_PLAY_RUNS'] ?? 20);
const STEPS = 20;
const AT_ONCE = 4;
const POSTGRES_RUNS = Math.ceil(RUNS / 2);
const POSTGRES_AT_ONCE = 2;
const PAGES = 5;
const SERVERS = 3;
/** Milliseconds: the life of a message with a short one. */
const SHORT = 300;
/** Milliseconds that messages are kept in a channel with a short age. */
const SHORT_AGE = 2 * SHORT;
/** Milliseconds that a step may take before anything expires in the middle of it. */
const STEP = 80;
const PATIENCE = 10_000;
const MARKS: MarkAs[] = ['seen', 'read', 'unread', 'archived', 'unarchived'];
const STATES: HistoryState[] = ['all', 'unseen', 'unread', 'read', 'archived'];

const pause = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

/** As on a machine whose cores are taken: no server, page or play of this process does anything meanwhile. */
function standStill(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** A store that push servers share. */
interface Store {
  broker(): Broker;
  /** What can become of it: each says whether all is lost, or what was saved has come back. */
  readonly losses: Record<string, (channel: string) => Promise<'all' | 'rewound' | 'nothing'>>;
  /** As a server does that ends: only then is it doubted. */
  hangUp(): Promise<void>;
  save(channel: string): Promise<void>;
}

function memoryStore(): Store {
  const store = new MemoryStore();
  return { broker: () => memoryBroker(store), losses: {}, hangUp: async () => {}, save: async () => {} };
}

function redisStore(url: string, client: RespClient): Store {
  return {
    broker: () => redisBroker(url, { intake: false, reconnectMinDelay: 5, reconnectMaxDelay: 50 }),
    losses: {
      'connections are lost': async () => 'nothing',
      async 'all keys are lost'(channel) {
        const count = await client.command('DEL', ...keysOf(channel));
        return Number(count) > 0 ? 'all' : 'nothing';
      },
      async 'the store is rewound'(channel) {
        return (await rewindKeys(client, channel)) ? 'rewound' : 'nothing';
      },
    },
    async hangUp() {
      await client.command('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await client.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    },
    save: (channel) => saveKeys(client, channel),
  };
}

function postgresStore(url: string, client: pg.Client): Store {
  const rows = new ChannelRows(client);
  return {
    broker: () => postgresBroker(url, { connections: 3, reconnectMinDelay: 5, reconnectMaxDelay: 50 }),
    losses: {
      'connections are lost': async () => 'nothing',
      'all rows are lost': async (channel) => ((await rows.clear(channel)) ? 'all' : 'nothing'),
      'the store is rewound': async (channel) => ((await rows.rewind(channel)) ? 'rewound' : 'nothing'),
    },
    async hangUp() {
      const others = 'datname = current_database() AND pid <> pg_backend_pid()';
      await client.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
    },
    save: (channel) => rows.save(channel),
  };
}

/** A page in plain mode that is told counts. */
class PlainPage {
  counts: unknown;
  #socket: WebSocket | undefined;

  open(url: string, user: string): void {
    this.#socket?.terminate();
    const socket = new WebSocket(`${url}?user=${encodeURIComponent(user)}`);
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('message', (text) => {
      if (this.#socket !== socket || !String(text).startsWith('{"type":"counts"')) return;
      const { type: _, ...counts } = JSON.parse(String(text));
      this.counts = counts;
    });
  }

  close(): void {
    this.#socket?.terminate();
  }
}

class TooSlow extends Error {}

class Play {
  readonly user: string;
  readonly story: string[] = [];
  readonly #channel: string;
  readonly #store: Store;
  readonly #dice: Dice;
  readonly #most: number;
  readonly #age: number;
  readonly #servers: Running[] = [];
  readonly #pages: InboxPage[];
  readonly #away = new Set<InboxPage>();
  /** Where each has connected to last. */
  readonly #at = new Map<InboxPage, string>();
  readonly #plain = new PlainPage();
  readonly #observer: Broker;
  readonly #recorder = new Recorder();
  readonly #model = new InboxModel();
  #saved: InboxModel | undefined;
  readonly #positions: Position[] = [];
  #sent = 0;
  #asked = 0;

  constructor(store: Store, seed: number) {
    this.user = `user ${seed}`;
    this.#channel = `user:${this.user}`;
    this.#store = store;
    this.#observer = store.broker();
    this.#dice = new Dice(seed);
    this.#most = this.#dice.pick([2, 5, 12, 40]);
    this.#age = this.#dice.roll(3) === 0 ? SHORT_AGE : 3_600_000;
    this.#pages = Array.from({ length: PAGES }, (_, i) => new InboxPage(this.user, `page ${i}`));
  }

  async run(): Promise<void> {
    await this.#observer.open(this.#recorder);
    try {
      for (let i = 0; i < SERVERS; i++) this.#servers.push(await this.#start());
      this.#plain.open(this.#servers[0]!.url, this.user);
      for (const page of this.#pages) await this.#come(page);
      for (let step = 0; step < STEPS; step++) {
        await this.#step();
        await this.#agree();
      }
      for (const page of this.#away) await this.#come(page);
      await this.#agree();
    } finally {
      for (const page of this.#pages) page.leave();
      this.#plain.close();
      await Promise.all([this.#observer.close(), ...this.#servers.map(({ push }) => push.close())]);
    }
  }

  /** @throws {TooSlow} if something may have expired since it was looked at the time: then nothing is proved */
  #inTime(): void {
    if (Date.now() > this.#asked + STEP) throw new TooSlow();
  }

  #start(): Promise<Running> {
    return startPush({
      broker: this.#store.broker(),
      plainCounts: true,
      retention: { inbox: { maxMessages: this.#most, maxAge: this.#age } },
    });
  }

  #server(): Running {
    return this.#dice.pick(this.#servers);
  }

  async #come(page: InboxPage): Promise<void> {
    const { url } = this.#server();
    this.#away.delete(page);
    this.#at.set(page, url);
    page.open(() => url);
    await until(`${page.name} to be welcome`, () => page.isReady, PATIENCE);
  }

  async #step(): Promise<void> {
    const dice = this.#dice;
    const kind = dice.roll(26);
    if (kind < 7) return this.#send();
    if (kind < 13) return this.#mark();
    if (kind < 15) return this.#markAtOnce();
    if (kind < 16) return this.#withdraw();
    if (kind < 19) return this.#comeOrGo();
    if (kind < 22) {
      this.story.push('time passes');
      return pause(dice.pick([SHORT / 3, 1.1 * SHORT]));
    }
    if (kind < 23) return this.#restart();
    if (kind < 24) {
      await this.#store.save(this.#channel);
      this.#saved = this.#model.clone();
      this.story.push('saved');
      return;
    }
    const names = Object.keys(this.#store.losses);
    if (names.length > 0) await this.#lose(dice.pick(names));
  }

  /** One, or several at once by several servers. */
  async #send(): Promise<void> {
    const dice = this.#dice;
    const count = dice.roll(3) ? 1 : 2 + dice.roll(6);
    const now = await this.#now();
    const sent = await Promise.all(
      Array.from({ length: count }, async () => {
        const data = `m${++this.#sent}`;
        const ttl = dice.roll(4) === 0 ? SHORT : undefined;
        const replaces = dice.roll(3) === 0 ? dice.pick(['a', 'b', '__proto__']) : undefined;
        this.story.push(`send ${data} ttl ${ttl} replaces ${replaces}`);
        const { epoch, offset, id } = await this.#server().push.send(this.user, data, {
          ...(ttl !== undefined && { ttl }),
          ...(replaces !== undefined && { replaces }),
        });
        return { position: { epoch, offset, id }, data, ttl, replaces };
      }),
    );
    // Now and then it is too old when it is looked at, and no server has had the time to tell its pages.
    if (this.#age === SHORT_AGE && dice.roll(6) === 0) standStill(SHORT_AGE);
    for (const { position, data, ttl, replaces } of sent.sort(
      (x, y) => x.position.offset - y.position.offset,
    )) {
      const { messages } = await this.#observer.read(this.#channel, position.offset - 1, 1);
      // What is not kept any more is too old, or one of too many: so it is as well if it was stored at `now`.
      const time = messages[0]?.offset === position.offset ? messages[0].time : now;
      this.#positions.push(position);
      this.#model.add(position, data, time, { most: this.#most, ttl, replaces });
    }
  }

  #which(): { messages?: Position[]; upTo?: Position } {
    const dice = this.#dice;
    const how = dice.roll(4);
    if (how === 0 || this.#positions.length === 0) return {};
    // Now and then one that was lost, or that nobody has sent.
    const some = (): Position => {
      const one = dice.pick(dice.roll(6) ? this.#positions.slice(-8) : this.#positions);
      return dice.roll(12)
        ? one
        : { ...one, ...dice.pick([{ id: 'x' }, { epoch: 'x' }, { offset: one.offset + 1 }]) };
    };
    if (how === 1) return { upTo: some() };
    return { messages: Array.from({ length: 1 + (how === 2 ? 0 : dice.roll(5)) }, some) };
  }

  #as(): MarkAs {
    return this.#dice.roll(12) === 0 ? 'deleted' : this.#dice.pick(MARKS);
  }

  async #mark(): Promise<void> {
    const as = this.#as();
    const which = this.#which();
    const page = this.#dice.roll(3) ? this.#dice.pick(this.#pages) : undefined;
    this.#model.look(await this.#now(), this.#age);
    const isBy = page !== undefined && !this.#away.has(page);
    this.story.push(`${isBy ? page.name : 'a server'} marks ${as} ${JSON.stringify(which)}`);
    const { changed } = isBy
      ? await page.mark(as, which)
      : await this.#server().push.mark(this.user, { as, ...which });
    this.#inTime();
    assert.equal(changed, this.#model.mark({ as, ...which }), 'how many are changed');
  }

  /** Whose order is not known, but it makes no difference: each is about other messages, or says the same. */
  async #markAtOnce(): Promise<void> {
    const as = this.#as();
    this.#model.look(await this.#now(), this.#age);
    const open = this.#pages.filter((page) => !this.#away.has(page));
    this.story.push(`${open.length} pages mark ${as} at once`);
    const done = await Promise.all(open.map((page) => page.mark(as)));
    const changed = done.reduce((sum, one) => sum + one.changed, 0);
    this.#inTime();
    if (open.length > 0) assert.equal(changed, this.#model.mark({ as }), 'how many are changed by all');
  }

  async #withdraw(): Promise<void> {
    const dice = this.#dice;
    const position = dice.pick(this.#positions.slice(-10));
    const key = dice.pick(['a', 'b', '__proto__', 'c']);
    const how = position === undefined ? 2 : dice.roll(3);
    const which = how === 2 ? { key } : how === 1 ? position! : { id: position!.id };
    this.story.push(`withdraw ${JSON.stringify(which)}`);
    this.#model.look(await this.#now(), this.#age);
    const isDone = await this.#server().push.withdraw(this.user, which);
    // By its id alone, it is found in whatever epoch it has now.
    const known = this.#model.messages.find(({ id }) => id === position?.id);
    const found = how === 2 ? { key } : { position: (how === 0 && known) || position! };
    this.#inTime();
    assert.equal(isDone, this.#model.remove(found), 'whether it was withdrawn');
  }

  async #comeOrGo(): Promise<void> {
    const page = this.#dice.pick(this.#pages);
    if (this.#away.has(page)) {
      this.story.push(`${page.name} comes back`);
      return this.#come(page);
    }
    this.story.push(`${page.name} goes`);
    page.leave();
    this.#away.add(page);
  }

  /** A server ends, another one begins, and its pages come back somewhere. */
  async #restart(): Promise<void> {
    const which = this.#dice.roll(SERVERS);
    this.story.push(`server ${which} is started anew`);
    const former = this.#servers[which]!;
    this.#servers[which] = await this.#start();
    await former.push.close();
    if (which === 0) this.#plain.open(this.#servers[0]!.url, this.user);
    for (const page of this.#pages) {
      if (this.#away.has(page) || this.#at.get(page) !== former.url) continue;
      await until(`${page.name} to be sent away`, () => !page.isReady);
      await this.#come(page);
    }
  }

  async #lose(how: string): Promise<void> {
    const versions = new Map(this.#pages.map((page) => [page, page.state!.version.offset]));
    const told = new Map(
      this.#pages.map(({ name, rewinds, gaps }) => [name, { rewinds, gaps: gaps.length }]),
    );
    const lost = await this.#store.losses[how]!(this.#channel);
    this.story.push(`${how}: ${lost}`);
    // A call that is made before a server has noticed may be made or not: here it is to be known.
    const down = this.#recorder.downs;
    await this.#store.hangUp();
    await until('the loss of the connection to be noticed', () => this.#recorder.downs > down, PATIENCE);
    for (const { push } of this.#servers) {
      await until('a server that is back', () => push.counts(this.user).catch(() => undefined), PATIENCE);
      await until('a server whose doorbells are back', () => !push.stats().storeAway, PATIENCE);
    }
    if (lost === 'nothing') return;
    const before = this.#model.top?.offset ?? 0;
    if (lost === 'all') this.#model.clear();
    else this.#model.restore(this.#saved!);
    const { marks, top } = await until(
      'the store to be back',
      () => this.#observer.marks(this.#channel).catch(() => undefined),
      PATIENCE,
    );
    for (const page of this.#pages) {
      if (this.#away.has(page)) continue;
      const { rewinds, gaps } = told.get(page.name)!;
      if (marks.version.offset < versions.get(page)!) {
        await until(`${page.name} to be told that marks are lost`, () => page.rewinds > rewinds, PATIENCE);
      }
      if (top.offset < before) {
        await until(`${page.name} to be told of a gap`, () => page.gaps.length > gaps, PATIENCE);
      }
    }
    // Whose epoch the log and the messages have now.
    const { messages, top: now } = await this.#observer.read(this.#channel, 0, 1);
    this.#model.epoch(messages[0]?.epoch ?? now.epoch);
  }

  async #now(): Promise<number> {
    for (;;) {
      const now = Date.now();
      const isNear = (moment: number): boolean => moment > now && moment <= now + STEP;
      this.#asked = now;
      if (!this.#model.boundaries(this.#age).some(isNear)) return now;
      await pause(STEP / 4);
    }
  }

  async #agree(): Promise<void> {
    const model = this.#model;
    const wanted = (): string => {
      model.look(Date.now(), this.#age);
      return model.shown;
    };
    for (const page of this.#pages) {
      if (this.#away.has(page)) continue;
      const isSame = (): boolean => shownOn(page) === wanted() && page.position?.id === (model.top?.id ?? '');
      await until(`${page.name} to agree`, isSame, PATIENCE).catch(() => {
        assert.fail(
          `${page.name} shows ${shownOn(page)} at ${JSON.stringify(page.position)}, and it is ${wanted()} at ` +
            JSON.stringify(model.top),
        );
      });
      assert.deepEqual(page.problems, [], page.name);
      for (const { offset, payload, isGone } of model.messages) {
        const given = page.given.get(offset);
        const isRight = isGone
          ? given?.data === undefined || given.data === payload
          : given?.data === payload;
        if (!isRight) assert.fail(`${page.name} was given ${JSON.stringify(given)} for ${offset} ${payload}`);
      }
    }
    await until(
      'the plain page to agree',
      () => {
        wanted();
        return JSON.stringify(this.#plain.counts) === JSON.stringify(model.counts);
      },
      PATIENCE,
    ).catch(() => {
      assert.fail(
        `a plain page has ${JSON.stringify(this.#plain.counts)}, not ${JSON.stringify(model.counts)}`,
      );
    });
    await this.#list(this.#server());
  }

  /** What a server says who is asked: counts, and a list in small pages. */
  async #list({ push }: Running): Promise<void> {
    const model = this.#model;
    const state = this.#dice.pick(STATES);
    const limit = 1 + this.#dice.roll(4);
    model.look(await this.#now(), this.#age);
    const listed: string[] = [];
    let before: Position | undefined;
    do {
      const page = await push.inbox(this.user, { state, limit, ...(before !== undefined && { before }) });
      for (const { offset, data, state, archived } of page.messages) {
        listed.push(`${offset} ${data} ${state}${archived ? ', archived' : ''}`);
      }
      this.#inTime();
      before = page.before;
      assert.deepEqual(page.counts, model.counts, 'the counts of a list');
    } while (before !== undefined);
    const counts = await push.counts(this.user);
    this.#inTime();
    assert.deepEqual(counts, model.counts);
    const states = model.states;
    const wanted = model.messages
      .map(({ offset, payload }, i) => ({ text: `${offset} ${payload} ${states[i]}`, state: states[i]! }))
      .filter(({ state: own }) => isListed(own, state))
      .map(({ text }) => text);
    assert.deepEqual(listed, wanted.reverse(), `the list of ${state}`);
  }
}

function isListed(own: string, state: HistoryState): boolean {
  if (own === 'gone') return false;
  if (own.endsWith('archived')) return state === 'archived';
  if (state === 'unread') return own !== 'read';
  return state === 'all' || own === state;
}

function shownOn(page: InboxPage): string {
  let shown = '';
  for (let offset = page.first; offset <= page.last; offset++)
    shown += `${offset} ${stateOf(page.marks, offset)}, `;
  return shown + said(page.counts);
}

/** Several at once, each by a store of its own, as most of the time is spent waiting for something to expire. */
async function playAll(t: TestContext, stores: Store[], runs = RUNS): Promise<void> {
  let next = SEED;
  let proved = 0;
  const playNext = async (store: Store): Promise<void> => {
    const seed = next++;
    const play = new Play(store, seed);
    try {
      await play.run();
      proved++;
    } catch (error) {
      if (!(error instanceof TooSlow))
        assert.fail(`seed ${seed}:\n${play.story.join('\n')}\n${(error as Error).stack}`);
    }
  };
  const playOn = async (store: Store): Promise<void> => {
    while (next < SEED + runs) await playNext(store);
  };
  await Promise.all(stores.map(playOn));
  // Where the machine was too busy for all of them, one after the other may be quick enough.
  while (proved === 0 && next < SEED + 5 * runs) await playNext(stores[0]!);
  t.diagnostic(`${next - SEED - proved} of ${next - SEED} were too slow to prove anything`);
  assert.ok(proved > 0, 'none was quick enough to prove anything');
}

describe('an inbox through push servers and its model', { timeout: 1_800_000 }, () => {
  test(`in memory, ${RUNS} from seed ${SEED}`, (t) =>
    playAll(t, Array.from({ length: AT_ONCE }, memoryStore)));

  test(`in Redis, ${RUNS} from seed ${SEED}, with losses and rewinds`, needs('redis'), async (t) => {
    const servers = await Promise.all(Array.from({ length: AT_ONCE }, () => startRedis()));
    const clients = servers.map(({ url }) => new RespClient(url));
    try {
      await playAll(
        t,
        servers.map(({ url }, i) => redisStore(url, clients[i]!)),
      );
    } finally {
      await Promise.all(clients.map((client) => client.close()));
      await Promise.all(servers.map((server) => server.stop()));
    }
  });

  test(
    `in PostgreSQL, ${POSTGRES_RUNS} from seed ${SEED}, with losses and rewinds`,
    needs('postgres'),
    async (t) => {
      const server = await startPostgres();
      const clients: pg.Client[] = [];
      try {
        const stores: Store[] = [];
        for (let i = 0; i < POSTGRES_AT_ONCE; i++) {
          const url = await server.database();
          await prepareRows(url);
          const client = new pg.Client(url);
          await client.connect();
          clients.push(client);
          stores.push(postgresStore(url, client));
        }
        await playAll(t, stores, POSTGRES_RUNS);
      } finally {
        await Promise.all(clients.map((client) => client.end()));
        await server.stop();
      }
    },
  );
});

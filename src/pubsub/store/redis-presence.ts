/**
 * Which sessions users have, and which are on topics, in Redis. A session is written once, with the life of its instance;
 * the life is one key that its instance renews, and readers leave out the sessions of lives that are over. So an idle
 * session costs nothing.
 */
import { clearInterval, monotonicNow, setInterval } from '../../clock.ts';
import { within } from '../../waiting.ts';
import { Script } from '../redis/script.ts';
import type { RedisTopology } from '../redis/topology.ts';
import { type Attendance, Tally } from './attendance.ts';
import { entryId, isUnusable, type PresenceEntry, placeOf, placeOfUser } from './broker.ts';
import { lua } from './lua.ts';
import { randomId } from './random-id.ts';
import { lifeKey, sessionsKey } from './redis-layout.ts';

const forgetScript = new Script(lua.forget);

/** Milliseconds that the sessions of a user or a topic are kept after the last of them was written. */
const SESSIONS_TTL = 24 * 60 * 60 * 1000;
/** Milliseconds in which every session is written again, a few at a time. */
const ROUND = SESSIONS_TTL / 4;
/** Milliseconds that a life which was seen is taken to last. */
const SEEN = 1000;
const MAX_SEEN = 10_000;
/** Milliseconds that saying goodbye may take. */
const CLOSE_TIMEOUT = 500;
/** Sessions that are written at a time. */
const AT_ONCE = 500;
/** Users that are asked about at a time. */
const USERS_AT_ONCE = 1000;
/** Sessions of a topic that are read at a time, about. */
const PAGE = 1000;

/** What a hash of sessions has. */
interface Found {
  session: string;
  life: string;
  json: string;
}

export class RedisPresence {
  readonly #topology: RedisTopology;
  readonly #prefix: string;
  readonly #about: <T>(what: 'announce' | 'presence', channel: string, answer: Promise<T>) => Promise<T>;
  /** By what tells them apart, as is what is unwritten. */
  readonly #entries = new Map<string, PresenceEntry>();
  /** Could not be written, and is tried again. */
  readonly #unwritten = new Set<string>();
  /** Lives of others, with when they were seen last. */
  readonly #seen = new Map<string, number>();
  #life = randomId(9);
  #ttl = 0;
  #timer: NodeJS.Timeout | undefined;
  #isBeating = false;
  /** Where the round of writing again goes on. */
  #round: Iterator<PresenceEntry> = [][Symbol.iterator]();

  /** @param about gets what is asked about one channel, and names it in what it fails with */
  constructor(
    topology: RedisTopology,
    prefix: string,
    about: <T>(what: 'announce' | 'presence', channel: string, answer: Promise<T>) => Promise<T>,
  ) {
    this.#topology = topology;
    this.#about = about;
    this.#prefix = prefix;
  }

  async announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    for (const entry of entries) this.#entries.set(entryId(entry), entry);
    try {
      if (ttl !== this.#ttl) await this.#begin(ttl);
      await this.#write(entries);
    } catch (error) {
      for (const entry of entries) this.#unwritten.add(entryId(entry));
      throw error;
    }
  }

  async withdraw(entries: PresenceEntry[]): Promise<void> {
    for (const entry of entries) {
      this.#entries.delete(entryId(entry));
      this.#unwritten.delete(entryId(entry));
    }
    await Promise.all(
      byPlace(entries).map(([place, sessions]) => {
        const key = sessionsKey(this.#prefix, place);
        return this.#topology.command(key, ['HDEL', key, ...sessions.map(({ session }) => session)]);
      }),
    );
  }

  of(user: string): Promise<PresenceEntry[]> {
    const place = placeOfUser(user);
    const key = sessionsKey(this.#prefix, place);
    const asked = this.#topology.command(key, ['HGETALL', key]);
    const living = asked.then((reply) => this.#living(key, reply as string[]));
    return this.#about('presence', place, living);
  }

  async online(users: readonly string[]): Promise<Set<string>> {
    const online = new Set<string>();
    for (let i = 0; i < users.length; i += USERS_AT_ONCE) {
      const part = users.slice(i, i + USERS_AT_ONCE);
      const ofUsers = await Promise.all(part.map((user) => this.#livesOf(user)));
      const alive = await this.#alive(new Set(ofUsers.flat()));
      for (const [k, lives] of ofUsers.entries()) {
        if (lives.some((life) => alive.has(life))) online.add(part[k]!);
      }
    }
    return online;
  }

  async #livesOf(user: string): Promise<string[]> {
    const place = placeOfUser(user);
    const key = sessionsKey(this.#prefix, place);
    try {
      const values = await this.#about('presence', place, this.#topology.command(key, ['HVALS', key]));
      return (values as string[]).map((value) => value.slice(0, Math.max(0, value.indexOf(' '))));
    } catch (error) {
      // A user whose key is damaged keeps nobody else's from being told.
      if (isUnusable(error)) return [];
      throw error;
    }
  }

  /** By pages, so that a topic that many are on holds nobody up. */
  attendance(topic: string, limit: number): Promise<Attendance> {
    const key = sessionsKey(this.#prefix, topic);
    const read = async (): Promise<Attendance> => {
      const tally = new Tally();
      let cursor = '0';
      do {
        const reply = await this.#topology.command(key, ['HSCAN', key, cursor, 'COUNT', PAGE]);
        const [next, page] = reply as [string, string[]];
        for (const { session, user } of await this.#living(key, page)) tally.add(session, user);
        cursor = String(next);
      } while (cursor !== '0');
      return tally.result(limit);
    };
    return this.#about('presence', topic, read());
  }

  /** Of fields and values by turns, the sessions of lives that are not over. What is over is removed. */
  async #living(key: string, reply: string[]): Promise<PresenceEntry[]> {
    const found: Found[] = [];
    for (let i = 0; i + 1 < reply.length; i += 2) {
      const value = reply[i + 1]!;
      const end = value.indexOf(' ');
      // Not written here, so it is no session; it expires.
      if (end === -1) continue;
      found.push({ session: reply[i]!, life: value.slice(0, end), json: value.slice(end + 1) });
    }
    const lives = await this.#alive(new Set(found.map(({ life }) => life)));
    const entries: PresenceEntry[] = [];
    const over: string[] = [];
    for (const { session, life, json } of found) {
      if (!lives.has(life)) over.push(session, life);
      else {
        try {
          entries.push(JSON.parse(json) as PresenceEntry);
        } catch {
          // Not written here, so it is no session; it expires.
        }
      }
    }
    if (over.length > 0) {
      // If it fails, the next reader does it.
      this.#topology.evaluate({ script: forgetScript, keys: [key], args: over }).catch(() => {});
    }
    return entries;
  }

  /** The store is back, and may have lost what was written: all of it is written again. */
  returned(): void {
    for (const id of this.#entries.keys()) this.#unwritten.add(id);
    if (this.#timer !== undefined) void this.#beat();
  }

  /** What was not withdrawn is over. */
  async close(): Promise<void> {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    const key = lifeKey(this.#prefix, this.#life);
    if (this.#entries.size === 0) return;
    // Where it fails, as the store is away, the life expires.
    const told = this.#topology.command(key, ['DEL', key]);
    await within(CLOSE_TIMEOUT, told);
  }

  async #begin(ttl: number): Promise<void> {
    const key = lifeKey(this.#prefix, this.#life);
    await this.#topology.command(key, ['SET', key, '', 'PX', Math.max(1, Math.floor(ttl))]);
    this.#ttl = ttl;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#beat(), Math.max(1, ttl / 3)).unref();
  }

  async #beat(): Promise<void> {
    if (this.#isBeating) return;
    this.#isBeating = true;
    try {
      const key = lifeKey(this.#prefix, this.#life);
      const px = Math.max(1, Math.floor(this.#ttl));
      if ((await this.#topology.command(key, ['SET', key, '', 'PX', px, 'XX'])) === null) {
        // Nobody has heard of this instance for too long, so its sessions may be forgotten by now.
        this.#life = randomId(9);
        await this.#begin(this.#ttl);
        for (const id of this.#entries.keys()) this.#unwritten.add(id);
      }
      const due = [...this.#unwritten].flatMap((id) => this.#entries.get(id) ?? []);
      this.#unwritten.clear();
      const share = Math.ceil((this.#entries.size * this.#ttl) / 3 / ROUND);
      for (let i = 0; i < share; i++) {
        let next = this.#round.next();
        if (next.done) {
          this.#round = this.#entries.values();
          next = this.#round.next();
        }
        if (!next.done) due.push(next.value);
      }
      for (let i = 0; i < due.length; i += AT_ONCE) {
        const part = due.slice(i, i + AT_ONCE);
        await this.#write(part).catch(() => {
          // With the next beat.
          for (const id of part.map(entryId)) if (this.#entries.has(id)) this.#unwritten.add(id);
        });
      }
    } catch {
      // The store is away, which the topology tells; when it is back, the next beat comes.
    } finally {
      this.#isBeating = false;
    }
  }

  async #write(entries: PresenceEntry[]): Promise<void> {
    const written = await Promise.allSettled(
      byPlace(entries).map(([place, sessions]) => {
        const key = sessionsKey(this.#prefix, place);
        const fields = sessions.flatMap((entry) => [entry.session, `${this.#life} ${JSON.stringify(entry)}`]);
        const told = this.#topology.command(key, ['HSET', key, ...fields]);
        const kept = this.#topology.command(key, ['PEXPIRE', key, SESSIONS_TTL]);
        return this.#about('announce', place, Promise.all([told, kept]));
      }),
    );
    // What is damaged keeps nothing else from being written.
    const failed = written.find(({ status }) => status === 'rejected');
    if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
  }

  async #alive(lives: Set<string>): Promise<Set<string>> {
    const now = monotonicNow();
    const alive = new Set<string>();
    const asked: string[] = [];
    for (const life of lives) {
      if (life === this.#life || now - (this.#seen.get(life) ?? -SEEN) < SEEN) alive.add(life);
      else asked.push(life);
    }
    const replies = await Promise.all(
      asked.map((life) => {
        const key = lifeKey(this.#prefix, life);
        return this.#topology.command(key, ['EXISTS', key]);
      }),
    );
    if (this.#seen.size > MAX_SEEN) this.#seen.clear();
    for (const [i, life] of asked.entries()) {
      this.#seen.delete(life);
      if (replies[i] !== 1) continue;
      alive.add(life);
      this.#seen.set(life, now);
    }
    return alive;
  }
}

function byPlace(entries: PresenceEntry[]): [string, PresenceEntry[]][] {
  const places = new Map<string, PresenceEntry[]>();
  for (const entry of entries) {
    const place = placeOf(entry);
    const sessions = places.get(place);
    if (sessions === undefined) places.set(place, [entry]);
    else sessions.push(entry);
  }
  return [...places];
}

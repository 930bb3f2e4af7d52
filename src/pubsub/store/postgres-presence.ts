/**
 * Which sessions users have, and which are on topics, in PostgreSQL (sql/presence.sql). A session is written once, with the life
 * of its instance. Changes go one call after the other, each with all that has come up meanwhile: so a session that was
 * withdrawn is not written again by a call that was on its way.
 */
import { clearInterval, setInterval } from '../../clock.ts';
import { within } from '../../waiting.ts';
import { wasNotExecutedByPostgres } from '../postgres/errors.ts';
import type { PostgresLink, Statement } from '../postgres/link.ts';
import type { Attendance } from './attendance.ts';
import { entryId, type PresenceEntry, placeOf, placeOfUser } from './broker.ts';
import { randomId } from './random-id.ts';

/** Milliseconds that saying goodbye may take. */
const CLOSE_TIMEOUT = 500;
/** Changes that are written at a time. */
const AT_ONCE = 500;
/** Users that are asked about at a time. */
const USERS_AT_ONCE = 1000;

const begin: Statement = { name: 'presence_begin', text: 'SELECT tidings.presence_begin($1, $2, $3)' };
const beat: Statement = { name: 'presence_beat', text: 'SELECT tidings.presence_beat($1, $2) AS lives' };
const change: Statement = {
  name: 'presence_change',
  text: 'SELECT tidings.presence_change($1, $2, $3, $4, $5, $6, $7) AS lives',
};
const end: Statement = { name: 'presence_end', text: 'SELECT tidings.presence_end($1)' };
const of: Statement = { name: 'presence_of', text: 'SELECT entry FROM tidings.presence_of($1)' };
const online: Statement = { name: 'presence_online', text: 'SELECT place FROM tidings.presence_online($1)' };
const attendance: Statement = {
  name: 'presence_attendance',
  text: 'SELECT * FROM tidings.presence_attendance($1, $2)',
};

interface Change {
  entry: PresenceEntry;
  isGone: boolean;
}

export class PostgresPresence {
  readonly #link: PostgresLink;
  readonly #about: <T>(what: 'announce' | 'presence', channel: string, answer: Promise<T>) => Promise<T>;
  /** What was announced, by what tells entries apart, as are changes. */
  readonly #entries = new Map<string, PresenceEntry>();
  /** What is not written yet. */
  readonly #changes = new Map<string, Change>();
  /** Empty: another one has to begin. */
  #life = '';
  #former = '';
  #ttl = 0;
  #timer: NodeJS.Timeout | undefined;
  #isBeating = false;
  /** The writing that is under way, and the one that follows it. */
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  /** @param about gets what is asked about one channel, and names it in what it fails with */
  constructor(
    link: PostgresLink,
    about: <T>(what: 'announce' | 'presence', channel: string, answer: Promise<T>) => Promise<T>,
  ) {
    this.#link = link;
    this.#about = about;
  }

  announce(entries: PresenceEntry[], ttl: number): Promise<void> {
    this.#beatEvery(ttl);
    for (const entry of entries) {
      this.#entries.set(entryId(entry), entry);
      this.#changes.set(entryId(entry), { entry, isGone: false });
    }
    return this.#write();
  }

  withdraw(entries: PresenceEntry[]): Promise<void> {
    for (const entry of entries) {
      this.#entries.delete(entryId(entry));
      this.#changes.set(entryId(entry), { entry, isGone: true });
    }
    return this.#write();
  }

  of(user: string): Promise<PresenceEntry[]> {
    const place = placeOfUser(user);
    const rows = this.#link.query<{ entry: string }>(of, [textOf(place)]);
    return this.#about(
      'presence',
      place,
      rows.then((all) => all.map(({ entry }) => JSON.parse(entry) as PresenceEntry)),
    );
  }

  async online(users: readonly string[]): Promise<Set<string>> {
    const found = new Set<string>();
    for (let i = 0; i < users.length; i += USERS_AT_ONCE) {
      const places = new Map(
        users.slice(i, i + USERS_AT_ONCE).map((user) => [textOf(placeOfUser(user)), user]),
      );
      const rows = await this.#link.query<{ place: string }>(online, [[...places.keys()]]);
      for (const { place } of rows) found.add(places.get(place)!);
    }
    return found;
  }

  attendance(topic: string, limit: number): Promise<Attendance> {
    const read = async (): Promise<Attendance> => {
      const [all, ...some] = await this.#link.query<{ user_name: string; users: number; sessions: number }>(
        attendance,
        [textOf(topic), limit],
      );
      return {
        users: some.map(({ user_name: user, sessions }) => ({ user, sessions })),
        total: all!.users,
        sessions: all!.sessions,
      };
    };
    return this.#about('presence', topic, read());
  }

  /** The database is back, and may have lost what was written: all of it is written again. */
  returned(): void {
    if (this.#timer === undefined) return;
    this.#anew();
    void this.#beat();
  }

  /** What was not withdrawn is over. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    if (this.#entries.size === 0 || this.#life === '') return;
    // Where it fails, as the database is away, the life expires.
    await within(CLOSE_TIMEOUT, this.#link.query(end, [this.#life]));
  }

  #beatEvery(ttl: number): void {
    if (ttl === this.#ttl) return;
    this.#ttl = ttl;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.#beat(), Math.max(1, ttl / 3)).unref();
  }

  async #beat(): Promise<void> {
    if (this.#isBeating) return;
    this.#isBeating = true;
    try {
      const life = this.#life;
      if (life !== '') {
        const [row] = await this.#link.query<{ lives: boolean }>(beat, [life, this.#milliseconds]);
        // Nobody has heard of this instance for too long, so its sessions may be forgotten by now.
        if (row?.lives !== true && this.#life === life) this.#anew();
      }
      await this.#write();
    } catch {
      // The database is away, which the link tells, or it is tried again with the next beat.
    } finally {
      this.#isBeating = false;
    }
  }

  get #milliseconds(): number {
    return Math.max(1, Math.floor(this.#ttl));
  }

  /** All is written under another name; what is still on its way under the old one has no effect from then on. */
  #anew(): void {
    if (this.#life !== '') this.#former = this.#life;
    this.#life = '';
    for (const [id, entry] of this.#entries) this.#changes.set(id, { entry, isGone: false });
  }

  /** Resolves when all changes until now are written, or rejects: then the next beat tries again. */
  #write(): Promise<void> {
    this.#next ??= this.#writing.then(() => {
      this.#next = undefined;
      const writing = this.#writeAll();
      // Whoever comes next only waits for it to be over.
      this.#writing = writing.catch(() => {});
      return writing;
    });
    return this.#next;
  }

  async #writeAll(): Promise<void> {
    while (this.#changes.size > 0) {
      if (this.#life === '') {
        const life = randomId(9);
        await this.#link.query(begin, [life, this.#milliseconds, this.#former]);
        this.#life = life;
      }
      const life = this.#life;
      const part = [...take(this.#changes, AT_ONCE)];
      for (const [id] of part) this.#changes.delete(id);
      try {
        const [first] = part as [[string, Change]];
        const told = this.#about('announce', placeOf(first[1].entry), this.#tell(life, part));
        if (await told) continue;
      } catch (error) {
        this.#keep(part);
        // It may still be carried out, after whatever follows.
        if (!wasNotExecutedByPostgres(error) && this.#life === life) this.#anew();
        throw error;
      }
      this.#keep(part);
      if (this.#life === life) this.#anew();
    }
  }

  async #tell(life: string, part: [string, Change][]): Promise<boolean> {
    const there = part.flatMap(([, { entry, isGone }]) => (isGone ? [] : [entry]));
    const gone = part.flatMap(([, { entry, isGone }]) => (isGone ? [entry] : []));
    const [row] = await this.#link.query<{ lives: boolean }>(change, [
      life,
      there.map((entry) => textOf(placeOf(entry))),
      there.map(({ session }) => textOf(session)),
      there.map(({ user }) => textOf(user)),
      there.map((entry) => JSON.stringify(entry)),
      gone.map((entry) => textOf(placeOf(entry))),
      gone.map(({ session }) => textOf(session)),
    ]);
    return row!.lives;
  }

  /** Of what could not be written, that which nothing has taken the place of. */
  #keep(part: [string, Change][]): void {
    for (const [id, one] of part) if (!this.#changes.has(id)) this.#changes.set(id, one);
  }
}

function* take<Key, Value>(map: Map<Key, Value>, most: number): Generator<[Key, Value]> {
  let left = most;
  for (const entry of map) {
    if (left-- === 0) return;
    yield entry;
  }
}

/** Without what PostgreSQL can't keep, which no name has. */
function textOf(name: string): string {
  return name.replaceAll('\0', '\uFFFD');
}

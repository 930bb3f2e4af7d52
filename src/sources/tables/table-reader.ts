/**
 * Reads an outbox table over one connection: lists which rows there are, reads them in the order of their ids, hands them in,
 * and removes what is stored.
 *
 * What order that keeps: a row that was inserted after another one was committed has a higher id, and whoever sees it sees the
 * other, too. So a list, made at one moment and worked off in the order of ids before the next one is made, never has the newer
 * row without the older one, or behind it. Transactions that run at the same time may commit in another order than that of
 * their ids: the later list has what the earlier one could not see, whatever its id is.
 */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import type { Intake } from '../driver.ts';
import { type Listed, messageOf, type Row, rowName, type TableConnection } from './outbox.ts';
import { BALANCE, Shares } from './shares.ts';

/** Rows of a share in one list, besides those that are under way. */
const LISTED = 500;
/** Rows that are read at once. */
const CHUNK = 500;
/** Rows that are removed at once. */
const REMOVED = 1_000;
/** Milliseconds between two looks while rows for many wait for others, or others for them. */
const BARRED = 5;
/** Milliseconds between two looks at a table that has nothing new, where inserts wake us, and where they don't. */
const POLL_WOKEN = 1_000;
const POLL = 50;
/** Milliseconds until a row that somebody else has locked is tried again. */
const LOCKED = 500;

export class TableReader {
  readonly #connection: TableConnection;
  readonly #intake: Intake;
  readonly #signal: AbortSignal;
  readonly #poll: number;
  readonly #shares: Shares;
  /** Rows to be read, the oldest first. */
  #list: Listed[] = [];
  /** By id, the share of what was handed in and is still in the table. */
  readonly #taken = new Map<string, number>();
  /** Handed in, and nobody has said yet what has become of it. */
  #underWay = 0;
  /** Rows that are to be removed, and those to be buried with the reason. */
  #stored: string[] = [];
  #dead: { id: string; reason: string }[] = [];
  /** Rows that are to be removed, and were locked by somebody else. */
  #locked: string[] = [];
  #triedLocked = Number.NEGATIVE_INFINITY;
  #isBarred = false;
  #isAwaitingRoom = false;
  #wake: (() => void) | undefined;
  #isWoken = false;

  /** @param poll milliseconds between two looks at a table that has nothing new */
  constructor(
    connection: TableConnection,
    intake: Intake,
    signal: AbortSignal,
    poll: number = connection.isWoken ? POLL_WOKEN : POLL,
  ) {
    this.#connection = connection;
    this.#intake = intake;
    this.#signal = signal;
    this.#poll = poll;
    this.#shares = new Shares(connection);
  }

  /** Until `signal` is aborted and all that was handed in is settled. @throws what the connection fails with */
  async run(): Promise<void> {
    const wake = (): void => this.#rouse();
    this.#connection.onWake = () => {
      this.#shares.lookSoon();
      wake();
    };
    this.#signal.addEventListener('abort', wake);
    try {
      this.#intake.connected();
      for (;;) {
        this.#isWoken = false;
        const isLocked = await this.#settle();
        if (this.#signal.aborted) {
          if (this.#taken.size === 0 || (this.#underWay === 0 && isLocked)) return;
          await this.#connection.ping();
        } else {
          await this.#balance();
          if (await this.#read()) continue;
        }
        await this.#sleep(isLocked ? Math.min(LOCKED, this.#delay) : this.#delay);
      }
    } finally {
      this.#signal.removeEventListener('abort', wake);
    }
  }

  get #delay(): number {
    return Math.min(this.#isBarred ? Math.min(BARRED, this.#poll) : this.#poll, BALANCE);
  }

  async #balance(): Promise<void> {
    const busy = new Set(this.#taken.values());
    await this.#shares.balance((share) => busy.has(share));
    this.#list = this.#list.filter(({ share }) => this.#shares.isActive(share));
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────

  /** @returns whether there was something, so that there may be more */
  async #read(): Promise<boolean> {
    const { free, prefetch, maxBody } = this.#intake;
    if (this.#list.length === 0) await this.#look();
    if (this.#list.length === 0) return false;
    const most = Math.min(free.messages, CHUNK);
    // Not one by one, as they come free.
    const isWorthIt = most >= Math.min(this.#list.length, Math.ceil(prefetch / 4), CHUNK);
    if (!isWorthIt || free.bytes <= 0) {
      this.#awaitRoom();
      return false;
    }
    const part = this.#list.slice(0, most);
    const rows = await this.#connection.read(
      part.map(({ id }) => id),
      free.bytes,
      maxBody,
    );
    // What lies between those that were read has been removed by somebody else.
    const last = rows.at(-1);
    const read = last === undefined ? part.length : part.findIndex(({ id }) => id === last.id) + 1;
    this.#list = this.#list.slice(read);
    const shares = new Map(part.map(({ id, share }) => [id, share]));
    for (const row of rows) this.#take(row, shares.get(row.id)!, maxBody);
    return true;
  }

  #awaitRoom(): void {
    if (this.#isAwaitingRoom) return;
    this.#isAwaitingRoom = true;
    void this.#intake.room().then(() => {
      this.#isAwaitingRoom = false;
      this.#rouse();
    });
  }

  async #look(): Promise<void> {
    const shares = this.#shares.active;
    if (shares.length === 0) {
      this.#isBarred = false;
      return;
    }
    const { rows, isBarred } = await this.#connection.list(shares, LISTED + this.#taken.size);
    this.#isBarred = isBarred;
    this.#list = rows.filter(({ id }) => !this.#taken.has(id));
  }

  #take(row: Row, share: number, maxBody: number): void {
    const { id, size } = row;
    this.#taken.set(id, share);
    if (size > maxBody) {
      const reason = `the row has ${size} bytes, and may have ${maxBody}`;
      this.#intake.dead(rowName(row), reason);
      this.#dead.push({ id, reason });
      return;
    }
    this.#underWay++;
    void this.#intake.take(messageOf(row)).then((outcome) => {
      this.#underWay--;
      if (outcome.what === 'done') this.#stored.push(id);
      else if (outcome.what === 'dead') this.#dead.push({ id, reason: outcome.reason });
      else this.#taken.delete(id);
      this.#rouse();
    });
  }

  // ── what has become of rows ────────────────────────────────────────────────────────────────────

  /** @returns whether something is left, as somebody else has it locked */
  async #settle(): Promise<boolean> {
    const stored = this.#stored;
    const dead = this.#dead;
    this.#stored = [];
    this.#dead = [];
    for (let i = 0; i < stored.length; i += REMOVED) await this.#remove(stored.slice(i, i + REMOVED));
    this.#dead.push(...(await this.#bury(dead)));
    if (this.#locked.length > 0 && monotonicNow() - this.#triedLocked > LOCKED) {
      const locked = this.#locked;
      this.#locked = [];
      await this.#removeFree(locked);
    }
    return this.#locked.length + this.#dead.length > 0;
  }

  async #remove(ids: readonly string[]): Promise<void> {
    try {
      await this.#connection.remove(ids);
    } catch (error) {
      if (!this.#connection.isPassing(error)) throw error;
      await this.#removeFree(ids);
      return;
    }
    for (const id of ids) this.#taken.delete(id);
  }

  /** Where somebody has locked one of them, the others don't wait for that. */
  async #removeFree(ids: readonly string[]): Promise<void> {
    this.#triedLocked = monotonicNow();
    let locked: readonly string[];
    try {
      locked = await this.#connection.removeFree(ids);
    } catch (error) {
      if (!this.#connection.isPassing(error)) throw error;
      locked = ids;
    }
    this.#locked.push(...locked);
    const left = new Set(locked);
    for (const id of ids) if (!left.has(id)) this.#taken.delete(id);
  }

  /** @returns what somebody has locked */
  async #bury(dead: readonly { id: string; reason: string }[]): Promise<{ id: string; reason: string }[]> {
    for (const [index, { id, reason }] of dead.entries()) {
      try {
        await this.#connection.bury(id, reason);
      } catch (error) {
        if (!this.#connection.isPassing(error)) throw error;
        return [...dead.slice(index + 1), dead[index]!];
      }
      this.#taken.delete(id);
    }
    return [];
  }

  // ── waiting ────────────────────────────────────────────────────────────────────────────────────

  #rouse(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  #sleep(milliseconds: number): Promise<void> {
    if (this.#isWoken) return Promise.resolve();
    return new Promise((resolve) => {
      const proceed = (): void => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(proceed, milliseconds);
      this.#wake = proceed;
    });
  }
}

/** Connections that are made when they are needed, and what waits for one: in order, bounded in number and time. */
import { clearTimeout, monotonicNow, setTimeout } from '../../clock.ts';
import { Queue } from '../../queue.ts';
import { delayOf, pause } from '../../waiting.ts';
import { Connection } from './connection.ts';
import { PostgresError } from './errors.ts';
import type { PostgresSettings } from './options.ts';

interface Waiting {
  deadline: number;
  resolve(connection: Connection): void;
  reject(error: Error): void;
}

export class Pool {
  readonly #settings: PostgresSettings;
  readonly #made: (connection: Connection) => void;
  readonly #closing = new AbortController();
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #waiting: Queue<Waiting> = new Queue();
  #making = 0;
  #failures = 0;
  #lastError: Error | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param made hears of each new connection, before it is used */
  constructor(settings: PostgresSettings, made: (connection: Connection) => void) {
    this.#settings = settings;
    this.#made = made;
  }

  /**
   * A connection of one's own, until it is given back.
   *
   * @throws {PostgresError} where nothing was sent: there is none in time, too many wait, or it is closed
   */
  take(): Promise<Connection> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closed());
    const idle = this.#idle.pop();
    if (idle !== undefined) return Promise.resolve(idle);
    const { queueMaxStatements, queueMaxWait, address } = this.#settings;
    if (this.#waiting.length >= queueMaxStatements) {
      return Promise.reject(
        new PostgresError(
          'POSTGRES_QUEUE_FULL',
          `${this.#waiting.length} statements wait for PostgreSQL at ${address}; nothing was sent`,
        ),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.add({ deadline: monotonicNow() + queueMaxWait, resolve, reject });
      this.#timer ??= setTimeout(() => this.#expire(), queueMaxWait + 1);
      this.#grow();
    });
  }

  give(connection: Connection): void {
    if (connection.isOver) return;
    if (!this.#all.has(connection)) {
      void connection.end();
      return;
    }
    const next = this.#waiting.take();
    if (next !== undefined) next.resolve(connection);
    else this.#idle.push(connection);
  }

  /** Another server is there now: of the former one nothing is used any more. */
  keepOnly(server: string): void {
    for (const connection of this.#all) {
      if (connection.server === server) continue;
      this.#all.delete(connection);
      const at = this.#idle.indexOf(connection);
      if (at === -1) continue;
      this.#idle.splice(at, 1);
      void connection.end();
    }
    this.#grow();
  }

  /** Leaves room for others: what nothing uses is ended. */
  yield(): void {
    for (const connection of this.#idle.splice(0)) {
      this.#all.delete(connection);
      void connection.end();
    }
  }

  /** What is under way settles; nothing new begins. */
  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    for (let next = this.#waiting.take(); next !== undefined; next = this.#waiting.take())
      next.reject(this.#closed());
    const all = [...this.#all];
    this.#all.clear();
    await Promise.all(this.#idle.splice(0).map((connection) => connection.end()));
    // The others are ended when they are given back.
    for (const connection of all) if (connection.isOver) void connection.end();
  }

  #closed(): PostgresError {
    return new PostgresError(
      'POSTGRES_CLOSED',
      `PostgreSQL at ${this.#settings.address} was closed; nothing was sent`,
    );
  }

  /** As many as are needed for what waits, and one attempt at a time after one has failed. */
  #grow(): void {
    while (
      this.#waiting.length > this.#making &&
      this.#all.size + this.#making < this.#settings.connections &&
      !(this.#failures > 0 && this.#making > 0) &&
      !this.#closing.signal.aborted
    ) {
      void this.#make();
    }
  }

  async #make(): Promise<void> {
    this.#making++;
    try {
      const { servers, isPooled } = this.#settings;
      const connection = await Connection.make(this.#settings, servers, isPooled);
      this.#failures = 0;
      this.#lastError = undefined;
      if (this.#closing.signal.aborted) {
        void connection.end();
        return;
      }
      this.#all.add(connection);
      connection.onEnd = () => this.#ended(connection);
      this.#made(connection);
      this.give(connection);
    } catch (error) {
      this.#lastError = error as Error;
      const { reconnectMinDelay: min, reconnectMaxDelay: max } = this.#settings;
      await pause(delayOf(this.#failures++, { min, max }), this.#closing.signal);
    } finally {
      this.#making--;
      this.#grow();
    }
  }

  #ended(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#idle.indexOf(connection);
    if (at !== -1) this.#idle.splice(at, 1);
    this.#grow();
  }

  #expire(): void {
    this.#timer = undefined;
    const { address, queueMaxWait } = this.#settings;
    const now = monotonicNow();
    for (;;) {
      const { first } = this.#waiting;
      if (first === undefined) return;
      if (first.deadline > now) {
        this.#timer = setTimeout(() => this.#expire(), first.deadline - now + 1);
        return;
      }
      this.#waiting.take();
      const why = this.#lastError === undefined ? 'all connections are busy' : this.#lastError.message;
      first.reject(
        new PostgresError(
          'POSTGRES_UNAVAILABLE',
          `PostgreSQL at ${address} could not be asked within ${queueMaxWait} ms, nothing was sent: ${why}`,
          { cause: this.#lastError },
        ),
      );
    }
  }
}

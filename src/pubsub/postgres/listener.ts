/**
 * The connection that listens: it hears everything that is rung on the schema's channel (sql/base.sql), and is made again
 * whenever it is lost. What it hears of itself now and then shows that it still hears.
 */
import { randomUUID } from 'node:crypto';
import { clearInterval, setInterval } from '../../clock.ts';
import { delayOf, isIn, pause } from '../../waiting.ts';
import { Connection } from './connection.ts';
import { PostgresError } from './errors.ts';
import type { PostgresSettings } from './options.ts';

export const SAY = 'SELECT pg_notify($1, $2)';
/** The word that a look at itself begins with. */
const PROBE = 'p';

export interface ListenerHooks {
  heard(payload: string): void;
  /** The channel that is rung on; `undefined` where there is no schema yet. Asked over another connection. */
  channel(): Promise<string | undefined>;
  /** Says something on a channel over another connection. */
  say(channel: string, payload: string): Promise<unknown>;
  /** The statement that rings with its one argument. */
  readonly ring: string;
  /** The connection was lost or could not be made. */
  lost(error: Error): void;
  /** It listens, to this server. */
  listening(server: string): void;
}

export class Listener {
  readonly #settings: PostgresSettings;
  /** To listen to where there is no schema yet: only to find out whether anything is heard at all. */
  readonly #first: string;
  readonly #hooks: ListenerHooks;
  readonly #closing = new AbortController();
  #connection: Connection | undefined;
  /** That it is rung on, of this connection. */
  #channel: string | undefined;
  #working: Promise<void> | undefined;
  #prober: NodeJS.Timeout | undefined;
  /** What is asked on the connection, one after another. */
  #turn: Promise<unknown> = Promise.resolve();
  /** What was said to itself and not heard yet. */
  #probe: { token: string; heard(): void } | undefined;

  /** @param schema its name */
  constructor(settings: PostgresSettings, schema: string, hooks: ListenerHooks) {
    this.#settings = settings;
    this.#first = schema;
    this.#hooks = hooks;
  }

  open(): void {
    this.#working ??= this.#work();
    const { probeInterval } = this.#settings;
    if (probeInterval > 0)
      this.#prober = setInterval(() => void this.#inTurn(() => this.#look()), probeInterval).unref();
  }

  /** Of the server that it listens to; `undefined` where it does not. */
  get server(): string | undefined {
    return this.#connection?.server;
  }

  /** Whether it hears what is rung: not where there was no schema when it connected, before `tune`. */
  get isTuned(): boolean {
    return this.#connection !== undefined && this.#channel !== undefined;
  }

  /** There is a schema by now. */
  tune(): Promise<void> {
    return this.#inTurn(async () => {
      const connection = this.#connection;
      if (connection === undefined || this.#channel !== undefined) return;
      const channel = await this.#hooks.channel();
      if (channel === undefined)
        throw new PostgresError('POSTGRES_CONNECTION', 'the schema in PostgreSQL is gone');
      await connection.query(undefined, `UNLISTEN ${quoted(this.#first)}`);
      await connection.query(undefined, `LISTEN ${quoted(channel)}`);
      if (this.#connection === connection) this.#channel = channel;
    });
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** Connects anew, as another server may be there by now. */
  renew(why: string): void {
    this.#connection?.destroy(new Error(why));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#prober);
    const connection = this.#connection;
    if (connection === undefined) return;
    connection.onEnd = () => {};
    await connection.end();
  }

  async #work(): Promise<void> {
    const { reconnectMinDelay: min, reconnectMaxDelay: max, address, listeners } = this.#settings;
    for (let failures = 0; !this.#closing.signal.aborted; ) {
      try {
        const connection = await Connection.make(this.#settings, listeners, false);
        const ended = new Promise<Error>((resolve) => {
          connection.onEnd = resolve;
        });
        try {
          await this.#listen(connection);
        } catch (error) {
          connection.destroy(error as Error);
          throw error;
        }
        if (this.#closing.signal.aborted) {
          await connection.end();
          return;
        }
        failures = 0;
        this.#connection = connection;
        this.#hooks.listening(connection.server);
        const error = await ended;
        this.#connection = undefined;
        if (!this.#closing.signal.aborted) this.#hooks.lost(error);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        const known =
          error instanceof PostgresError
            ? error
            : new PostgresError(
                'POSTGRES_CONNECTION',
                `no connection to PostgreSQL at ${address}: ${String(error)}`,
                { cause: error },
              );
        this.#hooks.lost(known);
        await pause(delayOf(failures++, { min, max }), this.#closing.signal);
      }
    }
  }

  async #listen(connection: Connection): Promise<void> {
    connection.onNotification = (payload) => this.#heard(payload);
    this.#channel = await this.#hooks.channel();
    const channel = this.#channel ?? this.#first;
    await connection.query(undefined, `LISTEN ${quoted(channel)}`);
    // Over another connection, as all others do: a PgBouncer may lead what is said here to whoever has listened.
    if (await this.#hears((token) => this.#hooks.say(channel, token))) return;
    throw new PostgresError(
      'POSTGRES_CONNECTION',
      `PostgreSQL at ${this.#settings.address} does not tell what it is asked to: LISTEN needs a connection of its own, which a PgBouncer that ` +
        'pools by transactions does not give, to the same database; give its address without the PgBouncer as listenOn',
    );
  }

  #heard(payload: string): void {
    if (payload.startsWith(`${PROBE} `)) {
      if (payload === this.#probe?.token) this.#probe.heard();
    } else if (this.#channel !== undefined) this.#hooks.heard(payload);
  }

  /** Whether it hears what it says to itself, within the time for that. */
  async #hears(say: (token: string) => Promise<unknown>): Promise<boolean> {
    const token = `${PROBE} ${randomUUID()}`;
    try {
      const heard = new Promise<void>((resolve) => {
        this.#probe = { token, heard: resolve };
      });
      await say(token);
      return await isIn(heard, this.#settings.probeTimeout);
    } finally {
      this.#probe = undefined;
    }
  }

  async #look(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined || this.#probe !== undefined) return;
    const { probeTimeout } = this.#settings;
    const say = (token: string): Promise<unknown> => {
      if (this.#channel === undefined)
        return connection.query(undefined, SAY, [this.#first, token], probeTimeout);
      // As all others ring: on another channel, where the schema was removed and made again.
      return connection.query(undefined, this.#hooks.ring, [token], probeTimeout);
    };
    const hears = await this.#hears(say).catch(() => false);
    if (!hears) connection.destroy(new Error(`it did not hear itself within ${probeTimeout} ms`));
  }
}

/** A name as SQL has it. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

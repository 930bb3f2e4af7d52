/** What PostgreSQL keeps of a channel: to be taken away, kept aside, and brought back, as a restored database would. */
import pg from 'pg';
import { postgresBroker } from '../../../src/pubsub/store/postgres-broker.ts';

/** Each with the column that says of which channel. */
const TABLES = [
  ['message', 'channel'],
  ['marks', 'channel'],
  ['channel', 'key'],
] as const;

/** Makes the schema of tidings, and one beside it for what is kept aside. */
export async function prepareRows(url: string): Promise<void> {
  const broker = postgresBroker(url);
  await broker.open({ message() {}, transient() {}, acknowledged() {}, down() {}, up() {} });
  await broker.close();
  const client = new pg.Client(url);
  await client.connect();
  await client.query('CREATE SCHEMA saved');
  for (const [table] of TABLES) await client.query(`CREATE TABLE saved.${table} AS TABLE tidings.${table}`);
  await client.end();
}

export class ChannelRows {
  readonly #client: pg.Client;

  /** @param client used for nothing else at the same time */
  constructor(client: pg.Client) {
    this.#client = client;
  }

  /** Whether there was anything. */
  clear(channel: string): Promise<boolean> {
    return this.#atOnce(() => this.#clear('tidings', channel));
  }

  async save(channel: string): Promise<void> {
    await this.#atOnce(async () => {
      await this.#clear('saved', channel);
      await this.#copy('tidings', 'saved', channel);
      return true;
    });
  }

  /** Whether there was anything to come back to. */
  rewind(channel: string): Promise<boolean> {
    return this.#atOnce(async () => {
      await this.#client.query('SELECT FROM tidings.channel WHERE name = $1 FOR UPDATE', [channel]);
      const { rowCount } = await this.#client.query('SELECT FROM saved.channel WHERE name = $1', [channel]);
      if (rowCount === 0) return false;
      await this.#clear('tidings', channel);
      await this.#copy('saved', 'tidings', channel);
      return true;
    });
  }

  async #clear(schema: string, channel: string): Promise<boolean> {
    let count = 0;
    for (const [table, column] of TABLES) {
      const which = `${column} = (SELECT key FROM ${schema}.channel WHERE name = $1)`;
      count = (await this.#client.query(`DELETE FROM ${schema}.${table} WHERE ${which}`, [channel]))
        .rowCount!;
    }
    return count > 0;
  }

  async #copy(from: string, to: string, channel: string): Promise<void> {
    for (const [table, column] of TABLES) {
      const rows = `SELECT * FROM ${from}.${table} WHERE ${column} = (SELECT key FROM ${from}.channel WHERE name = $1)`;
      await this.#client.query(`INSERT INTO ${to}.${table} OVERRIDING SYSTEM VALUE ${rows}`, [channel]);
    }
  }

  async #atOnce(work: () => Promise<boolean>): Promise<boolean> {
    await this.#client.query('BEGIN');
    const done = await work();
    await this.#client.query('COMMIT');
    return done;
  }
}

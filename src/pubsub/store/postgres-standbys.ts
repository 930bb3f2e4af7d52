/** On how many standbys is what PostgreSQL has committed: a commit waits for as many as its settings say. */
import type { PostgresLink, Statement } from '../postgres/link.ts';
import { type Receipt, ReplicationError } from './broker.ts';

const SETTINGS: Statement = {
  name: 'standbys',
  text: `SELECT current_setting('synchronous_standby_names') AS names, current_setting('synchronous_commit') AS waits`,
};

export class PostgresStandbys {
  readonly #link: PostgresLink;
  /** Who asks while somebody asks gets the same answer: it is about settings, not about a message. */
  #asked: Promise<number> | undefined;

  constructor(link: PostgresLink) {
    this.#link = link;
  }

  /**
   * Of a message that is committed: that its commit has waited for so many standbys.
   *
   * @throws {ReplicationError} where it has not, or nobody can be asked
   */
  async confirm(receipt: Receipt, replicas: number): Promise<void> {
    if (replicas <= 0) return;
    const confirmed = await this.#count().catch(() => 0);
    if (confirmed >= replicas) return;
    const why =
      `PostgreSQL at ${this.#link.address} is known to have waited for ${confirmed} of ${replicas} standbys: ` +
      'synchronous_standby_names and synchronous_commit say for how many it waits';
    throw new ReplicationError('POSTGRES_NOT_REPLICATED', receipt, confirmed, why);
  }

  #count(): Promise<number> {
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = undefined;
    });
    return this.#asked;
  }

  async #ask(): Promise<number> {
    const [found] = await this.#link.query<{ names: string; waits: string }>(SETTINGS, []);
    return waitedFor(found!.names, found!.waits);
  }
}

/**
 * @param names `synchronous_standby_names`, such as `a, b`, `2 (a, b, c)`, `FIRST 2 (a, b, c)`, `ANY 2 (*)`
 * @param waits `synchronous_commit`
 */
export function waitedFor(names: string, waits: string): number {
  if (waits === 'local' || waits === 'off' || names.trim() === '') return 0;
  const [, count] = /^\s*(?:(?:first|any)\s+)?(\d+)\s*\(/i.exec(names) ?? [];
  return count === undefined ? 1 : Number(count);
}

/** What outbox tables in all databases have in common as sources: their settings, a run, and how the SQL is named that makes them. */
import type { SourceKind } from '../kind.ts';
import { whole } from '../options.ts';
import { decodeRow, placeOf, quoted, type TableConnection, type TablePlace } from './outbox.ts';
import { TableReader } from './table-reader.ts';

const MAX_POLL = 60_000;

/** A kind of databases. */
export interface TableDatabase {
  /** `postgres` or `mysql`. */
  readonly kind: string;
  /** Of URLs, without the colon. */
  readonly schemes: readonly string[];
  /**
   * Where the table is, for people, and what connects to it, or rejects as a run of a driver does.
   *
   * @throws {TypeError} for a URL that can't be read, without repeating it
   */
  at(place: TablePlace): { readonly address: string; connect(): Promise<TableConnection> };
}

export function tablesIn({ kind, schemes, at }: TableDatabase): SourceKind {
  return {
    schemes,
    settings: { table: 'text', dead: 'text', poll: 'number' },
    make(url, { table, dead, poll: given }) {
      const place = placeOf(url, table, dead);
      const { address, connect } = at(place);
      const poll = given === undefined ? undefined : whole('poll', given, 1, MAX_POLL);
      return {
        kind,
        name: `table ${place.table} at ${address}`,
        scope: `${kind}:${place.table}`,
        decode: decodeRow,
        async run(intake, signal) {
          const connection = await connect();
          try {
            await new TableReader(connection, intake, signal, poll).run();
          } finally {
            await connection.close();
          }
        },
      };
    },
  };
}

/** SQL that is written for tables with the default names, for those with these. */
export function named(sql: string, table: string, dead: string, quote: '"' | '`'): string {
  const names: Readonly<Record<string, string>> = {
    tidings_outbox: table,
    tidings_outbox_dead: dead,
    tidings_outbox_wake: `${table}_wake`,
  };
  return sql.replace(/\btidings_outbox\w*/g, (name) => quoted(names[name]!, quote));
}

/** `tidings source-table`: the SQL that makes an outbox table. */
import { mysqlTableSql } from '../sources/tables/mysql-table.ts';
import { DEFAULT_TABLE, placeOf } from '../sources/tables/outbox.ts';
import { postgresTableSql } from '../sources/tables/postgres-table.ts';
import { command } from './command.ts';
import { once, text, UsageError } from './options.ts';

const DATABASES: Record<string, (table: string, dead: string) => string> = {
  postgres: postgresTableSql,
  mysql: mysqlTableSql,
  mariadb: mysqlTableSql,
};

export const sourceTable = command({
  name: 'source-table',
  positionals: Object.keys(DATABASES).join('|'),
  summary: 'print the SQL that makes an outbox table, for serve --source',
  description:
    'Prints the SQL that makes an outbox table, the table of its dead letters, and in PostgreSQL what tells of each insert at ' +
    'once. Put it among the migrations of the application that writes to it: docs/sources.md.',
  examples: [
    ['tidings source-table postgres | psql app', 'make them'],
    ['tidings source-table mysql --table app.outbox', 'under another name, in a database of its own'],
  ],
  options: {
    table: once(text('NAME', 'Its name, perhaps behind its schema', DEFAULT_TABLE)),
  },
  run: async ({ positionals, values }) => {
    const [database = '', ...rest] = positionals;
    if (!Object.hasOwn(DATABASES, database) || rest.length > 0) {
      throw new UsageError(`give one of ${Object.keys(DATABASES).join(', ')}`);
    }
    try {
      const { table, dead } = placeOf('', values.table);
      process.stdout.write(DATABASES[database]!(table, dead));
    } catch (error) {
      throw new UsageError(`--${(error as Error).message}`);
    }
    return 0;
  },
});

/** `tidings postgres-schema`: what the store in PostgreSQL needs, as SQL. */
import { schemaText } from '../pubsub/postgres/schema.ts';
import { command } from './command.ts';
import { text, UsageError } from './options.ts';

export const postgresSchema = command({
  name: 'postgres-schema',
  positionals: '',
  summary: 'print what the store in PostgreSQL needs, as SQL',
  description:
    'Prints SQL that makes the schema with all tables and functions. `tidings serve --postgres` makes and changes it by itself; ' +
    'this is for where the role that it has may not.',
  examples: [['tidings postgres-schema | psql postgres://owner@db/app', "as the database's owner"]],
  options: {
    postgresSchema: text('SCHEMA', 'Name of the schema', 'tidings'),
  },
  async run({ values: { postgresSchema: schema }, positionals }) {
    if (positionals.length > 0) throw new UsageError('it takes only options');
    process.stdout.write(schemaText(schema));
    return 0;
  },
});

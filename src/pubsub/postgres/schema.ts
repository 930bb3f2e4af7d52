/** What the broker needs in the database, and how it gets there. */
import { readBeside } from '../../beside.ts';
import { PostgresError, PostgresReplyError } from './errors.ts';
import { inSchema, type PostgresLink } from './link.ts';
import { quoted } from './listener.ts';

/** A step from one schema to the next. */
interface Migration {
  number: number;
  /** A tidings that knows no more than this one can still use it. */
  least: number;
  /** Run in this order. */
  files: readonly Buffer[];
}

/** Never changed once it was released: what comes later is one more. */
const MIGRATIONS: readonly Migration[] = [
  {
    number: 1,
    least: 1,
    files: [
      readBeside(new URL('sql/base.sql', import.meta.url)),
      readBeside(new URL('sql/parts.sql', import.meta.url)),
      readBeside(new URL('sql/channel.sql', import.meta.url)),
      readBeside(new URL('sql/marks.sql', import.meta.url)),
      readBeside(new URL('sql/log.sql', import.meta.url)),
      readBeside(new URL('sql/send.sql', import.meta.url)),
      readBeside(new URL('sql/cursor.sql', import.meta.url)),
      readBeside(new URL('sql/schedule.sql', import.meta.url)),
      readBeside(new URL('sql/control.sql', import.meta.url)),
      readBeside(new URL('sql/presence.sql', import.meta.url)),
      readBeside(new URL('sql/forget.sql', import.meta.url)),
      readBeside(new URL('sql/first-parts.sql', import.meta.url)),
    ],
  },
];
/** The schema that this version knows. */
export const SCHEMA = MIGRATIONS.at(-1)!.number;

const BEGIN = `CREATE TABLE IF NOT EXISTS tidings.migration (
  number int PRIMARY KEY,
  -- A tidings that knows this one can use it.
  least int NOT NULL,
  applied timestamptz NOT NULL DEFAULT now()
)`;
/** Nobody gets more by being there than the owner has given. */
const end = (schema: string): string => `REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ${quoted(schema)} FROM PUBLIC`;

/**
 * Makes the schema, or brings it up to what this version knows; others who come at the same time wait.
 *
 * @throws {PostgresError} with code `POSTGRES_SCHEMA`: a newer tidings has written it, or rights are missing
 */
export async function migrate(link: PostgresLink): Promise<void> {
  try {
    const [there] = await link.query<{ there: string | null }>(
      { name: undefined, text: 'SELECT to_regclass($1) AS there' },
      [`${quoted(link.schema)}.migration`],
    );
    if (there!.there !== null && (await numberOf(link)) >= SCHEMA) return;
    await link.transaction(async (query) => {
      const run = (text: string): Promise<object[]> => query({ name: undefined, text }, []);
      await query({ name: undefined, text: 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))' }, [
        `${link.schema} schema`,
      ]);
      await run('SET LOCAL check_function_bodies = off; SET LOCAL client_min_messages = warning');
      const [schema] = await query<{ there: string | null }>(
        { name: undefined, text: 'SELECT to_regnamespace($1) AS there' },
        [quoted(link.schema)],
      );
      if (schema!.there === null) await run(`CREATE SCHEMA ${quoted(link.schema)}`);
      await run(BEGIN);
      const [done] = await query<{ number: number }>(
        { name: undefined, text: 'SELECT coalesce(max(number), 0)::int AS number FROM tidings.migration' },
        [],
      );
      for (const text of stepsFrom(done!.number, link.schema)) await run(text);
    });
  } catch (error) {
    if (error instanceof PostgresReplyError && error.sqlstate === '42501') {
      throw new PostgresError(
        'POSTGRES_SCHEMA',
        `the schema ${link.schema} in PostgreSQL at ${link.address} has to be made or changed, which this role may not: ${error.reply}; ` +
          'have its owner run what `tidings postgres-schema` prints, or give this role the right CREATE on the database',
        { cause: error },
      );
    }
    throw error;
  }
}

/** @throws {PostgresError} for one that is newer */
async function numberOf(link: PostgresLink): Promise<number> {
  const text =
    'SELECT coalesce(max(number), 0)::int AS number, coalesce(max(least), 0)::int AS least FROM tidings.migration';
  const [found] = await link.query<{ number: number; least: number }>({ name: undefined, text }, []);
  if (found!.least <= SCHEMA) return found!.number;
  throw new PostgresError(
    'POSTGRES_SCHEMA',
    `the schema ${link.schema} in PostgreSQL at ${link.address} is number ${found!.number}, of a newer tidings; this one knows number ${SCHEMA}: ` +
      'it reads and delivers nothing before it is upgraded, too',
  );
}

/** SQL, in order. */
function* stepsFrom(number: number, schema: string): Generator<string> {
  for (const { number: own, least, files } of MIGRATIONS) {
    if (own <= number) continue;
    for (const file of files) yield file.toString();
    yield `INSERT INTO tidings.migration (number, least) VALUES (${own}, ${least})`;
  }
  yield end(schema);
}

/** All of it as SQL, for an owner of the database who runs it. */
export function schemaText(schema: string): string {
  const parts = [
    `BEGIN;\nSET LOCAL check_function_bodies = off;\nCREATE SCHEMA IF NOT EXISTS ${quoted(schema)};\n${BEGIN};\n`,
    ...stepsFrom(0, schema),
  ];
  return `${inSchema(parts.join(';\n'), schema)};\nCOMMIT;\n`;
}

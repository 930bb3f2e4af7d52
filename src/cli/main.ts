/** Finds the command, reads its settings, runs it, and turns errors into messages and exit statuses. */
import { closest } from '../option-names.ts';
import { VERSION } from '../version.ts';
import { check } from './check.ts';
import { type Command, helpOf, overview } from './command.ts';
import { completion } from './completion.ts';
import { Files } from './files.ts';
import { inbox, withdraw } from './inbox.ts';
import { listen } from './listen.ts';
import { readSettings, sharedKey, UsageError } from './options.ts';
import { postgresSchema } from './postgres-schema.ts';
import { prove } from './prove.ts';
import { cancel, scheduled } from './scheduled.ts';
import { publish, send } from './send.ts';
import { serve } from './serve.ts';
import { block, disconnect, unblock } from './sessions.ts';
import { sourceTable } from './source-table.ts';
import { ticket } from './ticket.ts';
import { top } from './top.ts';
import { trustHint } from './trust-hint.ts';
import { isWorker, startOrders } from './worker-orders.ts';

export const commands: Command[] = [
  serve,
  send,
  publish,
  scheduled,
  cancel,
  inbox,
  withdraw,
  listen,
  disconnect,
  block,
  unblock,
  ticket,
  top,
  check,
  prove,
  sourceTable,
  postgresSchema,
  completion(() => commands),
];

/** Every key of the config file: one file serves all commands. */
export const configKeys: ReadonlySet<string> = new Set(
  commands.flatMap(({ options }) =>
    Object.entries(options)
      .filter(([, option]) => !option.isOfOneCall)
      .map(([key, option]) => sharedKey(key, option)),
  ),
);

/** @returns the exit status: 0 done, 1 failed, 2 wrong usage */
export async function main(args: string[], environment: NodeJS.ProcessEnv = process.env): Promise<number> {
  const [name = 'help', ...rest] = args;
  if (name === '--version') {
    console.log(VERSION);
    return 0;
  }
  const isHelp = ['help', '--help', '-h'].includes(name);
  const wanted = isHelp ? rest[0] : name;
  const found = commands.find((command) => command.name === wanted);
  if (isHelp && (wanted === undefined || found !== undefined)) {
    console.log(found === undefined ? overview(commands) : helpOf(found));
    return 0;
  }
  if (found === undefined) {
    const likely = closest(
      wanted ?? '',
      commands.map((command) => command.name),
    );
    console.error(
      `tidings: unknown command '${wanted}'${likely === undefined ? '' : `; did you mean ${likely}?`}\n` +
        'Run `tidings --help` for the list.',
    );
    return 2;
  }

  try {
    // A worker has its settings from the files that its primary has read, not from those of now.
    const files = isWorker(environment) ? Files.fromCopy((await startOrders()).sources.start) : undefined;
    const settings = readSettings(found.options, rest, configKeys, environment, files);
    if (settings.help) {
      console.log(helpOf(found));
      return 0;
    }
    return await found.run(settings);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(
        `tidings ${found.name}: ${error.message}\nRun \`tidings ${found.name} --help\` for usage.`,
      );
      return 2;
    }
    const { message = String(error), cause } = error instanceof Error ? error : {};
    console.error(`tidings ${found.name}: ${message}${trustHint(cause)}`);
    return 1;
  }
}

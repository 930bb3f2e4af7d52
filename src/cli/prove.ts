/** `tidings prove`: what the pages of a push server lose, see twice or out of order while things break. */
import type { FaultKind, ProveSettings } from '../prove/index.ts';
import { connection } from './admin-client.ts';
import { command } from './command.ts';
import { secretOptions, secretsOf } from './login-options.ts';
import {
  checked,
  flag,
  integer,
  LINES,
  list,
  type Option,
  once,
  type Settings,
  text,
  UsageError,
} from './options.ts';

/** As src/prove has them, which is loaded when it is asked for; a test compares. */
export const adapterNames = ['tidings', 'plain', 'socketio', 'sse', 'nchan', 'ws'] as const;
export const faultNames = [
  ...['cut', 'before', 'during', 'after', 'half', 'silent', 'offline', 'slow', 'stall', 'late'],
  ...['kill', 'restart', 'freeze'],
] as FaultKind[];

const options = {
  adapter: once(
    text(
      `${adapterNames.join('|')}|FILE`,
      'How the server is spoken to; FILE is a module of your own (docs/prove.md)',
      'tidings',
    ),
  ),
  send: once(text('URL', 'Where messages are sent, with {user} in it; may be a path [as the adapter says]')),
  token: connection.token,
  ...secretOptions,
  queryUser: text(
    'PARAMETER',
    'For tidings without --secret: the query parameter with the bare name of the user',
    'operator',
  ),
  set: once(checked(list('NAME=VALUE', 'A setting of the adapter; may be repeated', LINES), settingProblem)),
  run: once(
    list(
      'COMMAND',
      'Start this, and kill, freeze and start it again as faults; may be repeated: an instance, its store',
      LINES,
    ),
  ),
  allowKill: once(
    list(
      'PID|FILE',
      'This process may be killed; or the one whose id is in this file; needs --restart; may be repeated',
      LINES,
    ),
  ),
  allowFreeze: once(list('PID|FILE', 'The same of a process that may stand still for some seconds', LINES)),
  restart: once(text('COMMAND', 'Starts what --allow-kill names again')),
  faults: once(
    checked(list(faultNames.join('|'), 'Only faults of this kind; may be repeated', /[\s,]+/), (kinds) => {
      const unknown = kinds.find((kind) => !(faultNames as string[]).includes(kind));
      return unknown === undefined
        ? undefined
        : `has no fault '${unknown}': there are ${faultNames.join(', ')}`;
    }),
  ),
  time: number('SECONDS', 'Seconds for which things break', { min: 0, max: 86_400, fallback: 20 }),
  away: number(
    'N',
    'At the end, a page is away for so many messages: more than the server keeps; 0: none is',
    {
      min: 0,
      max: 1_000_000,
      fallback: 1_500,
    },
  ),
  users: number('N', 'Users', { min: 1, max: 1_000, fallback: 5 }),
  pages: number('N', 'Pages of each user', { min: 1, max: 100, fallback: 2 }),
  interval: number('MS', 'From the acceptance of a message to the next one to the same user', {
    min: 0,
    max: 60_000,
    fallback: 20,
  }),
  size: number('BYTES', 'Of each message', { min: 0, max: 1_048_576, fallback: 120 }),
  patience: number('SECONDS', 'In which pages have to be there, and to come back when all is well', {
    min: 1,
    max: 3_600,
    fallback: 15,
  }),
  seed: once(text('N', 'Make the choices of an earlier run again; default: others each time, and printed')),
  outdir: text('FOLDER', 'Write index.html, with a picture of the run, and index.json there'),
  json: flag('Print JSON instead of lines'),
};

export const prove = command({
  name: 'prove',
  positionals: 'URL [URL…]',
  summary: 'break things around a push server, and count what its pages lose',
  description:
    'Opens pages at a push server, of any make, sends numbered messages, and breaks the connections of pages in many ways; ' +
    'also processes, where that is permitted. It counts what the server has accepted and a page did not get although it ' +
    'came back, what came twice or out of order, and what pages were told of. Several URLs are instances of one server.\n\n' +
    'Never at a server that others use: it makes users named prove-…, and sends them thousands of messages.\n\n' +
    'Status 0: nothing was lost, duplicated or reordered. 1: something was, or nothing could be proven. Progress goes to ' +
    'standard error. Ctrl-C ends the faults and prints what there is, with status 130; a second one ends at once.',
  examples: [
    [
      'tidings prove http://127.0.0.1:8080/ --token T',
      'at a `tidings serve --query-user operator --admin-token T`',
    ],
    [
      "tidings prove http://127.0.0.1:3000/ --adapter socketio --send '/send/{user}'",
      'only connections are cut',
    ],
    [
      "tidings prove http://127.0.0.1:3000/ --adapter sse --run 'node server.js'",
      'the server is killed as well',
    ],
    [
      'tidings prove http://127.0.0.1:3000/ --adapter ./mine.mjs --seed 42 --outdir report',
      'with an adapter of your own',
    ],
  ],
  options,
  run: proveIt,
});

function number(
  placeholder: string,
  help: string,
  range: { min: number; max: number; fallback: number },
): Option<number> {
  return once(integer(placeholder, help, range));
}

function settingProblem(settings: string[]): string | undefined {
  const names = settings.map((setting) => setting.slice(0, Math.max(0, setting.indexOf('='))));
  if (names.includes('')) return 'must be NAME=VALUE';
  return new Set(names).size < names.length ? 'names the same twice' : undefined;
}

async function proveIt({ values, positionals }: Settings<typeof options>): Promise<number> {
  const { run, allowKill, allowFreeze, restart, seed: given, outdir, json } = values;
  if (positionals.length === 0) throw new UsageError('give the URL of a push server');
  for (const url of positionals) {
    if (!/^(?:https?|wss?):\/\//i.test(url) || !URL.canParse(url))
      throw new UsageError(`'${url}' is not an http(s) or ws(s) URL`);
    const { username, password } = new URL(url);
    if (username + password !== '') throw new UsageError('the URL is one without a name or password');
  }
  if (new Set(positionals).size < positionals.length) throw new UsageError('the same URL is given twice');
  if (allowKill.length > 0 && restart === undefined)
    throw new UsageError('--allow-kill needs --restart COMMAND');
  if (restart !== undefined && allowKill.length === 0)
    throw new UsageError('--restart is for what --allow-kill names');
  if (given !== undefined && !/^\d{1,10}$/.test(given))
    throw new UsageError(`--seed '${given}' must be a whole number`);
  const wanted = values.faults.length === 0 ? faultNames : (values.faults as FaultKind[]);
  const ofProcesses = wanted.filter((kind) => kind === 'kill' || kind === 'restart' || kind === 'freeze');
  const mayTouch = run.length + allowKill.length + allowFreeze.length > 0;
  if (ofProcesses.length === wanted.length && !mayTouch)
    throw new UsageError(`--faults ${wanted.join(' ')} needs --run, --allow-kill or --allow-freeze`);
  const seed = Number(given ?? Math.floor(Math.random() * 2 ** 31));

  const { AdapterError, conclude, prepareFolder, prove, unproven, writeUnproven } = await import(
    '../prove/index.ts'
  );
  const { interruptible, statusOf } = await import('../check/interrupt.ts');
  const signal = interruptible();
  const note = (line: string): void => console.error(`tidings prove: ${line}`);
  // The second one ends at once, but leaves nothing behind that was started.
  signal.addEventListener('abort', () => {
    for (const name of ['SIGINT', 'SIGTERM'] as const)
      process.once(name, () => process.exit(statusOf(signal)));
    note('interrupted: nothing more is broken, and what pages have seen is added up');
  });
  const settings: ProveSettings = {
    ...values,
    urls: positionals,
    secret: secretsOf(values.secret, values.secretFile)[0],
    userParameter: values.queryUser,
    settings: Object.fromEntries(
      values.set.map((each) => [each.split('=', 1)[0], each.slice(each.indexOf('=') + 1)]),
    ),
    kinds: new Set(wanted),
    seed,
    signal,
    say: note,
  };
  /** Says that nothing is proven, wherever a verdict would stand. */
  const giveUp = (why: string): void => {
    if (json) process.stdout.write(`${JSON.stringify(unproven(settings, why))}\n`);
    try {
      if (outdir !== undefined) writeUnproven(outdir, unproven(settings, why));
    } catch (error) {
      note((error as Error).message);
    }
  };
  try {
    if (outdir !== undefined) prepareFolder(outdir, unproven(settings, 'the run is not over, or was killed'));
    const result = await prove(settings);
    const again = commandLine(seed);
    const status = conclude(result, {
      outdir,
      json,
      again,
      write: (text) => process.stdout.write(text),
      note,
    });
    return result.isInterrupted ? statusOf(signal) : status;
  } catch (error) {
    if (error instanceof AdapterError) throw new UsageError(error.message);
    if (signal.aborted) {
      giveUp('interrupted before anything was proven');
      note('interrupted before anything was proven');
      return statusOf(signal);
    }
    const why = error instanceof Error ? error.message : String(error);
    giveUp(why);
    throw new Error(`nothing is proven: ${why}`);
  }
}

/** As it was called, with the seed; secrets have to be put in again. */
function commandLine(seed: number): string {
  const args = process.argv.slice(2).flatMap((arg, i, all) => {
    const [, name] =
      /^--(seed|token|secret)$/.exec(all[i - 1] ?? '') ?? /^--(seed|token|secret)=/.exec(arg) ?? [];
    if (name === 'seed' || arg === '--seed') return [];
    if (name === undefined) return [arg];
    return arg.startsWith(`--${name}=`) ? [`--${name}=…`] : ['…'];
  });
  const quoted = args.map((arg) => (/^[\w./:=@,-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`));
  return `tidings ${quoted.join(' ')} --seed ${seed}`;
}

/** `tidings top`: what all instances are doing, second by second. */
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminError, callAdmin, connection } from './admin-client.ts';
import { command } from './command.ts';
import { fleetTable, type Look, type Report, refusalsLine, totalOf } from './fleet-table.ts';
import { flag, integer, type Settings, UsageError } from './options.ts';
import { Screen } from './screen.ts';

const options = {
  ...connection,
  interval: integer('MS', 'Milliseconds between two looks', { min: 100, max: 3_600_000, fallback: 1000 }),
  once: flag('Look once'),
  json: flag('Print JSON on a terminal, too'),
};

export const top = command({
  name: 'top',
  positionals: '',
  summary: 'watch what all instances are doing',
  description:
    'Shows what each instance of the fleet and all of them together are doing, again and again: sessions, messages stored and ' +
    'handed to pages each second, pages that are slow and bytes that wait for them, processor, memory, and by how much the ' +
    'event loop is late (99th percentile). One instance is asked, and asks the others. On a terminal it is drawn in place; ' +
    'otherwise, or with --json, it is one line of JSON each time: the sums, and the instances. q or Ctrl-C ends it.',
  examples: [
    ['tidings top --token T', 'the fleet that the server on this machine is one of'],
    ['tidings top --token T --once', 'one look'],
    [
      'TIDINGS_ADMIN_TOKEN=T tidings top --url http://10.0.0.5:9000 --interval 5000 | jq .sessions',
      'for a script',
    ],
  ],
  options,
  run: ({ values, positionals }) => {
    if (positionals.length > 0)
      throw new UsageError('top takes only options: what else there is may lack its --name');
    if (values.json || !process.stdout.isTTY) return printLines(values);
    // One that only prints can't be drawn on.
    if (values.once || (process.env['TERM'] ?? 'dumb') === 'dumb') return printTables(values);
    return draw(values);
  },
});

type Values = Settings<typeof options>['values'];

async function look(values: Values): Promise<Look> {
  let reports: Report[];
  try {
    reports = (await callAdmin(values, { method: 'GET', path: '/api/instances' })) as Report[];
  } catch (error) {
    // One that knows only itself.
    if (!(error instanceof AdminError && error.status === 404)) throw error;
    reports = [(await callAdmin(values, { method: 'GET', path: '/api/stats' })) as Report];
  }
  return { reports, at: performance.now() };
}

async function printLines(values: Values): Promise<number> {
  for (;;) {
    const { reports } = await look(values);
    console.log(JSON.stringify({ ...totalOf(reports), instances: reports }));
    if (values.once) return 0;
    await sleep(values.interval);
  }
}

async function printTables(values: Values): Promise<number> {
  let before: Look | undefined;
  for (;;) {
    const now = await look(values);
    console.log(`${linesOf(values, now, before).join('\n')}\n`);
    if (values.once) return 0;
    before = now;
    await sleep(values.interval);
  }
}

async function draw(values: Values): Promise<number> {
  let now = await look(values);
  let before: Look | undefined;
  let problem: string | undefined;
  const over = new AbortController();
  const end = (): void => over.abort();
  const onKey = (key: Buffer): void => {
    // Ctrl-C is a key like any other now.
    if (/[qQ\u0003\u0004]/.test(key.toString())) end();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, end);
  const { stdin } = process;
  if (stdin.isTTY) stdin.setRawMode(true).on('data', onKey).resume();
  const screen = new Screen(process.stdout);
  try {
    while (!over.signal.aborted) {
      screen.draw([...linesOf(values, now, before), ...(problem === undefined ? [] : ['', problem])]);
      await sleep(values.interval, undefined, { signal: over.signal });
      try {
        const next = await look(values);
        [before, now, problem] = [now, next, undefined];
      } catch (error) {
        const isFinal = error instanceof AdminError && !error.mayPass;
        if (isFinal || !(error instanceof AdminError)) throw error;
        const seconds = Math.round((performance.now() - now.at) / 1000);
        problem = `${error.message}; this is how it was ${seconds} s ago`;
      }
    }
  } catch (error) {
    if (!over.signal.aborted) throw error;
  } finally {
    screen.leave();
    if (stdin.isTTY) stdin.setRawMode(false).off('data', onKey).pause();
  }
  return 0;
}

function linesOf({ url }: Values, now: Look, before: Look | undefined): string[] {
  const refusals = refusalsLine(now, before);
  return [
    `tidings at ${url}  ${new Date().toLocaleTimeString('en-GB')}`,
    '',
    ...fleetTable(now, before),
    ...(refusals === undefined ? [] : ['', refusals]),
  ];
}

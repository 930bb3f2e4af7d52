/** `tidings top`: what a server is doing, second by second. */
import { setTimeout as sleep } from 'node:timers/promises';
import { callAdmin, connection } from './admin-client.ts';
import { command } from './command.ts';
import { flag, integer, UsageError } from './options.ts';

type Stats = Record<string, unknown>;

export const top = command({
  name: 'top',
  positionals: '',
  summary: 'watch the counts of a running server',
  description:
    'Shows the counts of /api/stats again and again: on a terminal in place, with the change per second; ' +
    'otherwise, or with --json, one line of JSON each time. Ctrl-C ends it.',
  examples: [
    ['tidings top --token T', 'the server on this machine'],
    ['tidings top --token T --once', 'one look, for scripts'],
  ],
  options: {
    ...connection,
    interval: integer('MS', 'Milliseconds between two looks', { min: 100, max: 3_600_000, fallback: 1000 }),
    once: flag('Look once'),
    json: flag('Print JSON on a terminal, too'),
  },
  async run({ values, positionals }) {
    if (positionals.length > 0)
      throw new UsageError('top takes only options: what else there is may lack its --name');
    const isPlain = values.json || values.once || !process.stdout.isTTY;
    let before: { stats: Stats; time: number } | undefined;
    for (;;) {
      const stats = (await callAdmin(values, { method: 'GET', path: '/api/stats' })) as Stats;
      const now = { stats, time: performance.now() };
      if (isPlain) console.log(JSON.stringify(stats));
      else process.stdout.write(`\u001b[H\u001b[2J${render(values.url, now, before)}`);
      if (values.once) return 0;
      before = now;
      await sleep(values.interval);
    }
  },
});

type Look = { stats: Stats; time: number };

function render(url: string, { stats, time }: Look, before: Look | undefined): string {
  const rows = Object.entries(stats).map(([name, value]) => {
    const earlier = before?.stats[name];
    const isNumber = typeof value === 'number' && typeof earlier === 'number';
    const rate = isNumber && before ? ((value - earlier) * 1000) / (time - before.time) : 0;
    const change = rate === 0 ? '' : `${rate > 0 ? '+' : ''}${rate.toFixed(1)}/s`;
    return `  ${name.padEnd(24)}${String(value).padStart(16)}  ${change}`;
  });
  return `tidings at ${url}\n\n${rows.join('\n')}\n`;
}

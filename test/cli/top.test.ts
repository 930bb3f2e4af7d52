/** `tidings top`: a fleet as its instances tell of themselves, on a terminal, on one that only prints, and for scripts. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { fleetTable, type Report, refusalsLine, totalOf } from '../../src/cli/fleet-table.ts';
import { Screen, type Terminal } from '../../src/cli/screen.ts';
import { tidings } from '../support/cli.ts';
import { until } from '../support/net.ts';
import { programFile } from '../support/program-file.ts';
import { needs, uncovered } from '../support/programs.ts';

function report(instance: string, more: Partial<Report> = {}): Report {
  return {
    ...{ instance, sessions: 0, channels: 0, published: 0, opened: 0, storeFaults: 0 },
    ...{ storeAway: false, draining: false },
    ...more,
  };
}

/** An admin API that knows what it is told. */
async function serve(t: TestContext, listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a terminal shows that is written to: enough of one for what is written here. */
class FakeTerminal implements Terminal {
  columns = 60;
  rows = 10;
  lines: string[] = [];
  written: string[] = [];
  resized: (() => void) | undefined;
  isOther = false;
  #row = 0;

  write(text: string): void {
    this.written.push(text);
    for (const [, sequence, final, plain] of text.matchAll(/\u001b\[([\d;?]*)([a-zA-Z])|([^\u001b]+)/g)) {
      if (plain !== undefined) this.lines[this.#row] = plain;
      else if (final === 'H') this.#row = Number(sequence!.split(';')[0]) - 1;
      else if (final === 'J') this.lines = [];
      else if (final === 'K' && text.includes(`H\u001b[K`)) this.lines[this.#row] ??= '';
      else if (sequence === '?1049') this.isOther = final === 'h';
    }
  }

  on(_: 'resize', listener: () => void): void {
    this.resized = listener;
  }

  removeListener(): void {
    this.resized = undefined;
  }
}

test('a screen writes only the lines that have changed, and leaves the terminal as it was', () => {
  const terminal = new FakeTerminal();
  const screen = new Screen(terminal);
  assert.ok(terminal.isOther);
  screen.draw(['one', 'two', 'three']);
  assert.deepEqual(terminal.lines, ['one', 'two', 'three']);
  terminal.written = [];
  screen.draw(['one', 'two', 'three']);
  assert.deepEqual(terminal.written, []);
  screen.draw(['one', 'TWO', 'three']);
  assert.deepEqual(terminal.written, ['\u001b[2;1HTWO\u001b[K']);
  terminal.written = [];
  screen.draw(['one']);
  assert.deepEqual(terminal.written, ['\u001b[2;1H\u001b[K\u001b[3;1H\u001b[K']);
  // Narrower and lower: nothing wraps, and nothing scrolls.
  Object.assign(terminal, { columns: 4, rows: 2 });
  screen.draw(['a long line', 'b', 'c']);
  assert.equal(terminal.lines.join('|').includes('a lon'), false);
  terminal.resized!();
  assert.deepEqual(terminal.lines.slice(0, 2), ['a lo', 'b']);
  screen.leave();
  assert.equal(terminal.isOther, false);
  assert.equal(terminal.resized, undefined);
});

test('a fleet is a row for each instance, by name, and one for all', () => {
  const before = {
    at: 0,
    reports: [
      report('b', {
        sessions: 10,
        published: 100,
        time: 1_000,
        started: 0,
        cpuSeconds: 1,
        memoryBytes: 2 ** 26,
      }),
      report('a', { published: 5 }),
    ],
  };
  const now = {
    at: 2_000,
    reports: [
      report('b', {
        ...{ sessions: 12_345, published: 300, time: 3_000, started: 0, cpuSeconds: 2, memoryBytes: 2 ** 27 },
        ...{ storeAway: true, refusals: { 'no-user': 3 } },
      }),
      // Started again meanwhile: what it counts begins anew.
      report('a', { sessions: 1, published: 1, draining: true }),
      report('c\u001b[2J', { ready: false, reason: 'starting' }),
    ],
  };
  const [head, ...rows] = fleetTable(now, before);
  assert.match(head!, /^instance +sessions +new\/s +stored\/s +CPU +memory +up +state$/);
  assert.match(rows[0]!, /^a +1 +0 +- +- +- +- +draining$/);
  assert.match(rows[1]!, /^b +12,345 +0 +100 +50 % +128 MiB +3 s +store away$/);
  assert.match(rows[2]!, /^c\\u001b\[2J +0 .* not ready: starting$/);
  assert.match(rows[3]!, /^all 3 +12,346 +0 +100 +50 % +128 MiB +3 s$/);
  assert.equal(refusalsLine(now, before), 'refused: no-user 3 (+3)');
  assert.deepEqual(totalOf(now.reports), {
    ...{ sessions: 12_346, channels: 0, published: 301, opened: 0, storeFaults: 0 },
    ...{ storeAway: true, draining: false },
  });
});

test('for scripts: one line of JSON, of all instances, or of the one that knows no others', async (t) => {
  const paths: string[] = [];
  const fleet = await serve(t, (request, response) => {
    paths.push(request.url!);
    response.end(JSON.stringify([report('a', { sessions: 2 }), report('b', { sessions: 3 })]));
  });
  const looked = tidings(t, ['top', '--once', '--url', fleet], { environment: { TIDINGS_ADMIN_TOKEN: 'T' } });
  assert.equal(await looked.status(), 0);
  const { sessions, instances } = JSON.parse(looked.stdout);
  assert.deepEqual([sessions, instances.length, paths], [5, 2, ['/api/instances']]);

  const alone = await serve(t, (request, response) => {
    if (request.url === '/api/stats') response.end(JSON.stringify(report('a', { sessions: 2 })));
    else response.writeHead(404).end('{"error":"not_found","message":"no"}');
  });
  const single = tidings(t, ['top', '--once', '--json', '--url', alone, '--token', 'T']);
  assert.equal(await single.status(), 0);
  assert.deepEqual(JSON.parse(single.stdout).instances, [report('a', { sessions: 2 })]);

  const refused = tidings(t, ['top', '--url', alone]);
  assert.equal(await refused.status(), 2);
  assert.match(refused.stderr, /TIDINGS_ADMIN_TOKEN/);
});

/** The program on a terminal of its own. */
function onTerminal(t: TestContext, args: string[], environment: Record<string, string>) {
  const command = [process.execPath, programFile, ...args].join(' ');
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    env: { ...uncovered, TIDINGS_ADMIN_TOKEN: 'T', ...environment },
  });
  t.after(() => child.kill('SIGKILL'));
  const terminal = { child, text: '', exited: once(child, 'close') as Promise<[number | null]> };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    terminal.text += text;
  });
  return terminal;
}

test(
  'on a terminal it is drawn in place; q ends it, and the terminal is as it was',
  needs('script'),
  async (t) => {
    let sessions = 7;
    let isAway = false;
    const url = await serve(t, (_, response) => {
      if (isAway) return void response.destroy();
      response.end(JSON.stringify([report('first', { sessions }), report('second')]));
    });
    const terminal = onTerminal(t, ['top', '--interval', '100', '--url', url], { TERM: 'xterm' });
    await until('the table', () => /first +7/.test(terminal.text));
    assert.ok(terminal.text.includes('\u001b[?1049h'));
    sessions = 8;
    await until('the change', () => /first +8/.test(terminal.text));
    assert.equal(terminal.text.match(/instance +sessions/g)?.length, 1, 'the head is not drawn again');
    isAway = true;
    await until('what is wrong', () => /no answer from .*this is how it was/.test(terminal.text));
    isAway = false;
    sessions = 9;
    await until('it goes on', () => /first +9/.test(terminal.text));
    terminal.child.stdin.write('q');
    assert.equal((await terminal.exited)[0], 0);
    assert.ok(
      terminal.text.trimEnd().endsWith('\u001b[?25h\u001b[?1049l'),
      JSON.stringify(terminal.text.slice(-60)),
    );
  },
);

test(
  'Ctrl-C ends it as q does; a terminal that only prints gets no control characters',
  needs('script'),
  async (t) => {
    const url = await serve(t, (_, response) => response.end(JSON.stringify([report('first')])));
    const drawn = onTerminal(t, ['top', '--interval', '100', '--url', url], { TERM: 'xterm' });
    await until('the table', () => drawn.text.includes('first'));
    drawn.child.stdin.write('\u0003');
    assert.equal((await drawn.exited)[0], 0);
    assert.ok(drawn.text.includes('\u001b[?1049l'));

    const dumb = onTerminal(t, ['top', '--interval', '100', '--url', url], { TERM: 'dumb' });
    await until('several tables', () => (dumb.text.match(/instance +sessions/g)?.length ?? 0) >= 2);
    assert.ok(!dumb.text.includes('\u001b'));
  },
);

test('a token that is not valid ends it, with the terminal as it was', needs('script'), async (t) => {
  let asked = 0;
  const url = await serve(t, (_, response) => {
    if (asked++ === 0) response.end(JSON.stringify([report('first')]));
    else response.writeHead(403).end('{"error":"token_wrong","message":"this is not the admin token"}');
  });
  const terminal = onTerminal(t, ['top', '--interval', '100', '--url', url], { TERM: 'xterm' });
  assert.equal((await terminal.exited)[0], 1);
  assert.match(terminal.text, /\u001b\[\?1049l.*answered 403: this is not the admin token/s);
});

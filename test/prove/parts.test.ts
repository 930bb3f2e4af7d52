/** Parts of `tidings prove`: what comes in a stream of events, whose message it is, what the seed chooses, what a report says. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { adapterNames, faultNames } from '../../src/cli/prove.ts';
import { type AdapterContext, AdapterError, type PageEvents, pageAddress } from '../../src/prove/adapter.ts';
import { EventStream } from '../../src/prove/adapters/event-stream.ts';
import { HttpSender } from '../../src/prove/adapters/http-sender.ts';
import { adapterNamed } from '../../src/prove/adapters/index.ts';
import { loadLibrary } from '../../src/prove/adapters/socketio.ts';
import { Faults } from '../../src/prove/faults.ts';
import { writeReport } from '../../src/prove/folder.ts';
import { adapters, conclude, faultKinds, type Result } from '../../src/prove/index.ts';
import { NamedProcess } from '../../src/prove/named-process.ts';
import { Page } from '../../src/prove/page.ts';
import { Payloads } from '../../src/prove/payload.ts';
import { guard, OwnProcess, type Victim } from '../../src/prove/processes.ts';
import { Random } from '../../src/prove/random.ts';
import { text } from '../../src/prove/report.ts';
import type { Sender } from '../../src/prove/sender.ts';
import { until } from '../support/net.ts';
import { sample } from './support.ts';

const context: AdapterContext = {
  urls: ['http://127.0.0.1:1/'],
  send: undefined,
  token: undefined,
  secret: undefined,
  userParameter: 'operator',
  settings: {},
};

/** As the system has it: S sleeps, T stands still; undefined where there is no such process. */
function stateOf(pid: number): string | undefined {
  try {
    return / ([A-Z]) \d/.exec(readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\)/s, ''))?.[1];
  } catch {
    return undefined;
  }
}

test('the command line names the adapters and faults that there are', () => {
  assert.deepEqual([...adapterNames], Object.keys(adapters));
  assert.deepEqual([...faultNames], faultKinds);
});

test('a stream of events: fields, comments, line ends, chunks anywhere, ids that stay, and an end in the middle', () => {
  const source =
    '\uFEFF: hello\nretry: 250\nid: 7\ndata: one\n\nevent: gap\rdata:two\rdata\rdata:  three\r\rid\r\ndata: four\r\n\r\n' +
    'id: 9\0\ndata: five\n\nevent: empty\n\nid: 8\n\ndata: half\nid: 99\n';
  for (let size = 1; size <= source.length; size++) {
    const events: string[] = [];
    const stream = new EventStream('5', ({ type, data }) => events.push(`${stream.lastId} ${type} ${data}`));
    for (let at = 0; at < source.length; at += size) stream.push(source.slice(at, at + size));
    assert.deepEqual(
      events,
      ['7 message one', '7 gap two\n\n three', ' message four', ' message five'],
      `by ${size}`,
    );
    assert.deepEqual([stream.lastId, stream.retry], ['8', 250]);
  }
  assert.equal(new EventStream('5', () => {}).lastId, '5');
});

test('a message is known as what was sent to this user, or as something else', () => {
  const payloads = new Payloads('r1', 200);
  const one = payloads.textOf('alice', 1);
  assert.equal(Buffer.byteLength(one), 200);
  assert.equal(JSON.stringify(JSON.parse(one)), one);
  assert.equal(payloads.read(one, 'alice'), 1);
  assert.equal(payloads.read(one, 'bob'), 'misdelivered');
  assert.equal(payloads.read(one.replace('.', '!'), 'alice'), 'damaged');
  assert.equal(payloads.read(one.slice(0, 100), 'alice'), 'damaged');
  const { pad, ...rest } = JSON.parse(one) as { pad: string };
  assert.equal(payloads.read(JSON.stringify({ pad, ...rest }, null, 2), 'alice'), 1, 'JSON, in another way');
  assert.equal(payloads.read(JSON.stringify(rest), 'alice'), 'damaged');
  assert.equal(payloads.read(JSON.stringify({ pad, ...rest, more: 1 }), 'alice'), 'damaged');
  assert.equal(payloads.read(JSON.stringify({ pad, ...rest, n: '1' }), 'alice'), 'damaged');
  for (const other of ['hello', '{}', 'null', '7', new Payloads('r2', 200).textOf('alice', 1)])
    assert.equal(payloads.read(other, 'alice'), 'foreign', other);
  for (const none of [undefined, null, 1, { n: 1 }])
    assert.notEqual(payloads.read(none, 'alice'), 1, String(none));
  const bare = new Payloads('r1', 0);
  assert.equal(bare.read(bare.textOf('a', 12), 'a'), 12);
});

test("what this run has never sent is damaged, whoever makes it up; a greeting is nobody's", () => {
  const payloads = new Payloads('r1', 200);
  const forger = new Payloads('r1', 200);
  payloads.textOf('prove-r1-1', 7);
  for (const n of [8, 0, -1, 1.5, 1e9, Number.MAX_SAFE_INTEGER])
    assert.equal(payloads.read(forger.textOf('prove-r1-1', n), 'prove-r1-1'), 'damaged', String(n));
  assert.equal(payloads.read(forger.textOf('nobody', 1), 'prove-r1-1'), 'damaged');
  assert.equal(payloads.read(forger.textOf('prove-r1-1', 7), 'prove-r1-1'), 7);
  for (const greeting of ['welcome prove-r1-1', '{"type":"hello","user":"prove-r1-1"}', ''])
    assert.equal(payloads.read(greeting, 'prove-r1-1'), 'foreign', greeting);
  const half = payloads.textOf('prove-r1-1', 7);
  for (const part of [half.slice(0, 60), half.slice(10)])
    assert.equal(payloads.read(part, 'prove-r1-1'), 'damaged', part);
});

test('a page that is flooded with the same message, or told without end, keeps a bounded part of it and counts all', async () => {
  const payloads = new Payloads('r1', 0);
  const [one, two, three] = [1, 2, 3].map((n) => payloads.textOf('a', n)) as [string, string, string];
  const sender = { user: 'a', last: 3, current: 3 } as unknown as Sender;
  const page = await Page.create({
    index: 0,
    sender,
    urls: [new URL('http://127.0.0.1:1/')],
    payloads,
    isExcused: () => false,
  });
  let events: PageEvents | undefined;
  await page.open({
    name: 'x',
    open: (_request, given) => {
      events = given;
      return { close() {} };
    },
    send: async () => {},
  });
  events!.message(one);
  events!.message(three);
  assert.equal(page.isWhole, false);
  for (let i = 0; i < 50_000; i++) {
    events!.message(one);
    events!.told('again');
  }
  events!.message(two);
  await page.close();
  assert.equal(page.isWhole, true);
  const { duplicated, reordered, lost, gaps } = page.review();
  assert.ok(duplicated.length + gaps < 25_000, `${duplicated.length} ${gaps}`);
  assert.equal(duplicated.length + page.moreRepeats, 50_000);
  assert.deepEqual([reordered, lost.size, page.first, page.highest], [[2], 0, 1, 3]);
});

test('the same seed makes the same choices, and another one others', () => {
  const pages = [0, 1].map((index) => ({
    index,
    user: 'a',
    proxy: { cut: () => 1, breakNext: () => 1 },
    expect() {},
  }));
  const choices = (seed: number): string => {
    const faults = new Faults({
      pages: pages as unknown as Page[],
      victims: [],
      kinds: new Set(faultKinds),
      interval: 100,
    });
    const random = new Random(seed);
    for (let i = 0; i < 300; i++) {
      const { before, during, after } = faults.timing('a', random);
      for (const act of [before, during, after]) act?.();
    }
    return faults.happened.map((fault) => `${fault.kind} ${fault.pages}`).join();
  };
  assert.equal(choices(1), choices(1));
  assert.notEqual(choices(1), choices(2));
  for (const kind of ['before', 'during', 'after', 'half']) assert.ok(choices(1).includes(kind), kind);
});

test('an event that does not end is an error, however it is cut into chunks', () => {
  const mib = 'x'.repeat(1024 * 1024);
  for (const [begin, more] of [
    ['data: ', mib],
    ['', `data: ${mib}\n`],
  ] as const) {
    const stream = new EventStream('', () => {});
    stream.push(begin);
    assert.throws(() => {
      for (let i = 0; i < 9; i++) stream.push(more);
    }, /an event has no end/);
  }
  const stream = new EventStream('', () => {});
  for (let i = 0; i < 20; i++) stream.push(`data: ${mib}\n\n`);
});

test('where a page connects and a message goes: in the place of {user}, at the path of the adapter, or as a parameter', () => {
  const at = (url: string, path?: string): string => pageAddress({ url, user: 'a b' }, path);
  assert.equal(at('http://h:1/x/{user}?q=1'), 'http://h:1/x/a%20b?q=1');
  assert.equal(at('http://h:1/x/%7Buser%7D'), 'http://h:1/x/a%20b');
  assert.equal(at('http://h:1/', '/sub/{user}'), 'http://h:1/sub/a%20b');
  assert.equal(at('http://h:1/live', '/sub/{user}'), 'http://h:1/live?user=a+b');
  for (const send of ['/send', 'http://h:1/send', 'ftp://h/{user}', 'http://[/{user}'])
    assert.throws(() => new HttpSender({ ...context, send }, '/send/{user}'), AdapterError, send);
});

test('what an adapter needs and does not get is said with its name', async () => {
  const refused = (name: string, pattern: RegExp, more: Partial<AdapterContext> = {}): Promise<void> =>
    assert.rejects(adapterNamed(name, { ...context, ...more }), (error) => {
      assert.ok(error instanceof AdapterError, String(error));
      assert.match(error.message, pattern);
      return true;
    });
  await refused('tidings', /give the --token/);
  await refused('tidings', /--secret: .*16 bytes/, { token: 'T', secret: 'short' });
  await refused('sse', /--set tlod: the adapter sse knows told, repeats/, { settings: { tlod: 'x' } });
  await refused('plain', /has no settings/, { settings: { told: 'x' } });
  await refused('nobody', /neither a file nor one of tidings, plain, socketio, sse, nchan, ws/);
  await refused('package.json', /can't be loaded/);
  await refused('test/prove/support.ts', /no function as its default export/);
  await assert.rejects(
    loadLibrary('no-such-library'),
    /needs the package no-such-library: npm install no-such-library/,
  );
  assert.equal(typeof (await loadLibrary()).io, 'function');
});

test('a process that is named is checked before anything is done to it', () => {
  for (const [source, pattern] of [
    ['1', /none to be touched/],
    ['0', /none to be touched/],
    [String(process.pid), /none to be touched/],
    ['package.json', /not a file with a process id/],
    ['no-such-file', /not a file with a process id/],
    ['4194305', /there is no process/],
  ] as const) {
    assert.throws(() => new NamedProcess(source, undefined), pattern, source);
  }
});

test('a file that is older than the process whose id it has names another one, and that is not touched', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  const child = spawn('sleep', ['1000']);
  t.after(() => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const file = join(folder, 'pid');
  writeFileSync(file, `${child.pid}\n`);
  const named = new NamedProcess(file, 'true');
  utimesSync(file, 1, 1);
  assert.throws(() => new NamedProcess(file, 'true'), /another one than the file means/);
  assert.equal(named.freeze(), false);
  assert.equal(await named.kill(), false);
  await until('it to sleep as before', () => stateOf(child.pid!) === 'S');
});

test('a process that was killed is not touched again by its number, and is started again only if it was killed here', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  const [file, mark] = [join(folder, 'pid'), join(folder, 'mark')];
  const children = [spawn('sleep', ['1000']), spawn('sleep', ['1000'])] as const;
  t.after(() => {
    for (const child of children) child.kill('SIGKILL');
    rmSync(folder, { recursive: true });
  });
  const [first, second] = children.map(({ pid }) => pid!) as [number, number];
  writeFileSync(file, String(first));
  const named = new NamedProcess(file, `echo x >> ${mark}; exit 3`);
  rmSync(file);
  assert.equal(await named.kill(), false, 'nobody knows which');
  await named.revive();
  assert.equal(existsSync(mark), false, 'nothing was killed');
  writeFileSync(file, String(first));
  assert.equal(await named.kill(), true);
  assert.equal(await named.kill(), false);
  assert.equal(named.freeze(), false);
  await named.revive();
  await until('the command', () => existsSync(mark));
  await until('its status', () => named.trouble);
  assert.match(named.trouble!, /--restart has ended with status 3/);
  writeFileSync(file, String(second));
  await named.revive();
  assert.equal(readFileSync(mark, 'utf8'), 'x\n', 'it runs already');
  assert.equal(named.freeze(), true);
  await until('it to stand still', () => stateOf(second) === 'T');
  named.thaw();
  await until('it to go on', () => stateOf(second) === 'S');
});

test('a process that could not be killed is not said to have been', async () => {
  const none = { name: 'none', isMortal: true, trouble: undefined, output: '', leave() {}, thaw() {} };
  let tries = 0;
  const end = async (): Promise<boolean> => ++tries < 0;
  const victim: Victim = {
    ...none,
    kill: end,
    terminate: end,
    revive: async () => {},
    freeze: () => false,
  };
  const faults = new Faults({
    pages: [],
    victims: [victim],
    kinds: new Set(['kill', 'restart']),
    interval: 20,
  });
  await faults.breakProcesses(() => tries < 2, new Random(1));
  assert.deepEqual(faults.happened, []);
});

test('what may only stand still is never killed nor asked to end, and what can not be asked is not', async () => {
  const done = new Set<string>();
  const victim = (name: string, isMortal: boolean, canBeAsked: boolean): Victim => {
    // It is never there, so that nobody waits for it.
    const tell = (what: string): false => {
      done.add(`${name} ${what}`);
      return false;
    };
    return {
      ...{ name, isMortal, trouble: undefined, output: '', leave() {}, thaw() {} },
      ...(canBeAsked && { terminate: async () => tell('terminate') }),
      kill: async () => tell('kill'),
      revive: async () => {},
      freeze: () => tell('freeze'),
    };
  };
  const victims = [victim('frozen', false, false), victim('named', true, false), victim('own', true, true)];
  const faults = new Faults({ pages: [], victims, kinds: new Set(faultKinds), interval: 20 });
  // False each time that it is asked whether to wait.
  let asked = 0;
  await faults.breakProcesses(() => asked < 200 && ++asked % 2 === 0, new Random(5));
  assert.deepEqual([...done].sort(), [
    'frozen freeze',
    ...['named freeze', 'named kill', 'own freeze', 'own kill', 'own terminate'],
  ]);
});

test('a command is started, killed, frozen and ended with all that it has started, and started again where it ends', async () => {
  const own = new OwnProcess('sleep 1000 & echo began $!; wait');
  const child = async (): Promise<number> =>
    Number(await until('it', () => /began (\d+)\s*$/.exec(own.output)?.[1]));
  const isThere = (pid: number): boolean => {
    try {
      return process.kill(pid, 0) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
    } catch {
      return false;
    }
  };
  own.start();
  const first = await child();
  assert.ok(own.freeze());
  own.thaw();
  await own.kill();
  await until('the end of its child', () => !isThere(first));
  own.output = '';
  await own.revive();
  const second = await child();
  assert.equal(own.crashes, 0);
  own.output = '';
  process.kill(second, 'SIGKILL');
  const third = await child();
  assert.equal(own.crashes, 1);
  await own.stop();
  await until('the end of the last', () => !isThere(third));
  assert.equal(own.isRunning, false);
});

test('however many runs there are, this process has no more listeners of its end', () => {
  const before = process.listenerCount('exit');
  const ended = Array.from({ length: 20 }, () => guard([new OwnProcess('true')]));
  assert.equal(process.listenerCount('exit'), before);
  for (const end of ended) end();
});

test('a report that can not be written costs the status, and not the verdict', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-report-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'file');
  writeFileSync(file, '');
  let said = '';
  const take = (text: string): void => {
    said += `${text}\n`;
  };
  const passed: Result = { ...sample, verdict: 'passed', failures: [] };
  const output = { outdir: join(file, 'report'), json: false, again: 'x', write: take, note: take };
  assert.equal(conclude(passed, output), 1);
  assert.match(said, /\npassed: /);
  assert.match(said, /--outdir '.*' can't be written: ENOTDIR/);
  assert.equal(conclude(passed, { ...output, outdir: undefined }), 0);
});

test('the report says what was lost, near which fault, and how to run it again; nothing in it is HTML of others', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-report-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = writeReport(folder, sample, "tidings prove '<URL>' --seed 42");
  const page = readFileSync(path, 'utf8');
  assert.deepEqual(JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8')), sample);
  assert.ok(
    !page.includes('<b>mine') && page.includes('&lt;b&gt;mine') && page.includes('node &quot;x&quot;'),
  );
  assert.match(
    page,
    /page 1 of prove-r-1: message 7 lost, accepted at 1\.50 s, 12 ms after <code>half<\/code> \(cut in the middle/,
  );
  assert.match(page, /page 2 of prove-r-1: told in vain after message 9, at 1\.60 s/);
  assert.match(page, /<pre>tidings prove '&lt;URL&gt;' --seed 42<\/pre>/);
  assert.equal(page.match(/class="fault"/g)?.length, 2);
  assert.equal(page.match(/class="process"/g)?.length, 1);
  assert.equal(page.match(/class="finding"/g)?.length, 2);
  const lines = text(sample);
  assert.match(lines, /messages accepted +1,234, 2 tries repeated, 3 more without an answer/);
  assert.match(lines, /half +1 +2 +1 +0 +0 +cut in the middle of a message/);
  assert.match(lines, /failed: 1 lost; 1 time told/);
  assert.doesNotMatch(page + lines, /undefined|NaN/);
});

test('messages that were lost one after another are one line of the report', () => {
  const finding = (n: number, page: string, began: number): Result['findings'][number] => ({
    what: 'lost',
    page,
    n,
    at: 1000 + 10 * n,
    near: { kind: 'silent', before: 1000 + 10 * n - began },
  });
  const first = Array.from({ length: 40 }, (_, i) => finding(i + 1, 'page 1 of u', 1005));
  const other = [finding(12, 'page 2 of u', 1005)];
  const later = [finding(41, 'page 1 of u', 1400)];
  const findings = [...first, ...other, ...later].sort((a, b) => a.at - b.at);
  const lines = text({ ...sample, lost: 42, findings });
  assert.match(
    lines,
    /page 1 of u: messages 1 to 40 lost, accepted at 1\.01 s to 1\.40 s, the first one 5 ms after `silent` \(.*\)\n/,
  );
  assert.match(lines, /page 2 of u: message 12 lost/);
  assert.match(lines, /page 1 of u: message 41 lost/);
  const flood = Array.from({ length: 999 }, () => ({
    ...finding(1, 'page 1 of u', 0),
    what: 'duplicated' as const,
  }));
  assert.match(
    text({ ...sample, findings: flood }),
    /page 1 of u: message 1 duplicated 999 times, accepted at/,
  );
  const everywhere = [1, 2, 3].flatMap((n) =>
    ['page 1 of u', 'page 2 of u'].map((page) => ({ ...finding(n, page, 1005), everyPage: true as const })),
  );
  const of = text({ ...sample, lost: 6, findings: everywhere });
  assert.equal(of.match(/ lost,/g)?.length, 1);
  assert.match(of, /every page of u: messages 1 to 3 lost/);
});

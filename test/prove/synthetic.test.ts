/** The verdict is right: a good server passes, and each fault that servers have is found, and nothing else. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Result } from '../../src/prove/index.ts';
import { type StreamOptions, streamServer } from './servers/stream.ts';
import { listening, proven } from './support.ts';

type Settings = Partial<Parameters<typeof proven>[0]>;

async function run(options: StreamOptions, settings: Settings = {}): Promise<Result> {
  const server = streamServer(options);
  try {
    return await proven({ urls: [await listening(server)], adapter: 'sse', ...settings });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

/** Enough messages for what happens to one in a thousand. */
const many: Settings = { users: 2, time: 1, away: 600 };

const faulty: [what: string, options: StreamOptions, settings: Settings, failure: RegExp][] = [
  ['sends one in a thousand twice', { fault: 'duplicate' }, many, /^\d+ duplicated$/],
  ['sends one in a thousand late', { fault: 'reorder' }, many, /^\d+ reordered$/],
  ['loses one in a thousand', { fault: 'lose' }, many, /^\d+ lost$/],
  ['changes one in a thousand', { fault: 'damage' }, many, /^[\d,]+ lost; \d+ not what was sent$/],
  ['gives one in a thousand to all', { fault: 'misdeliver' }, many, /^\d+ delivered to another user$/],
  ['begins one too early', { fault: 'twice' }, {}, /^\d+ duplicated$/],
  ['recovers nothing', { fault: 'forget' }, {}, /^\d+ lost$/],
  ['cries wolf', { fault: 'alarm' }, {}, /^\d+ times? told that something is missing where nothing was$/],
  [
    'says nothing of what it has not kept',
    { fault: 'silent', keeps: 300 },
    { away: 600, time: 1 },
    /^\d+ lost$/,
  ],
];

describe('a server of events', { concurrency: 20, timeout: 120_000 }, () => {
  test('that keeps what it promises passes', async () => {
    const result = await run({}, { away: 400 });
    assert.deepEqual(result.failures, []);
    assert.equal(result.verdict, 'passed');
    assert.ok(result.toBeSeen > 1000 && result.recovery!.times > 5);
    assert.deepEqual(result.findings, []);
    assert.deepEqual(result.told, { times: 0, messages: 0, inVain: 0 });
    const away = result.faults.find(({ kind }) => kind === 'away');
    assert.deepEqual([away?.times, away?.pages, away?.messages], [1, 2, 400]);
  });

  test('is shown what was to break and did not', async () => {
    const { faults, failures } = await run({}, { time: 0.4, kinds: new Set(['cut', 'late', 'kill']) });
    assert.deepEqual(
      faults.map(({ kind }) => kind),
      ['cut', 'late'],
    );
    const hits = faults.reduce((all, { times }) => all + times, 0);
    assert.deepEqual(failures, hits === 0 ? ['no fault has hit anything: this proves nothing'] : []);
  });

  test('is broken for as long as was asked, also by nothing but what goes with messages', async () => {
    const { failures, seconds } = await run({}, { time: 4, patience: 2, kinds: new Set(['after']) });
    assert.deepEqual(failures, []);
    assert.ok(seconds >= 4, `${seconds} s`);
  });

  test('is given its time however long this program stands still meanwhile', async () => {
    const still = new Int32Array(new SharedArrayBuffer(4));
    const say = (text: string): void => {
      if (/^\d+ pages|well again/.test(text)) setTimeout(() => Atomics.wait(still, 0, 0, 2500), 5);
    };
    const { failures } = await run({}, { time: 1, patience: 2, say });
    assert.deepEqual(failures, []);
  });

  test('that has not kept so much, and says so, passes', async () => {
    const result = await run({ keeps: 300 }, { away: 600, time: 1 });
    assert.deepEqual(result.failures, []);
    assert.equal(result.told.times, 2);
    assert.ok(result.told.messages >= 600, String(result.told.messages));
  });

  for (const [what, options, settings, failure] of faulty) {
    test(`that ${what} fails, with this and nothing else`, async () => {
      const result = await run(options, settings);
      assert.equal(result.verdict, 'failed');
      assert.match(result.failures.join('; '), failure);
      if (options.fault === 'misdeliver' || options.fault === 'damage') return;
      assert.ok(result.findings.length > 0);
      assert.match(result.findings[0]!.page, /^page \d of prove-\w+-\d$/);
    });
  }

  test('at which nothing breaks proves nothing', async () => {
    const { verdict, failures } = await run({}, { time: 0 });
    assert.deepEqual([verdict, failures], ['failed', ['no fault has hit anything: this proves nothing']]);
  });

  test('that accepts nothing, or delivers nothing, is not judged', async () => {
    await assert.rejects(run({}, { send: '/nowhere/{user}', patience: 5 }), /no message was accepted: 404/);
    const deaf = streamServer();
    const hearing = streamServer();
    const urls = [await listening(deaf)];
    const send = `${await listening(hearing)}send/{user}`;
    await assert.rejects(
      proven({ urls, adapter: 'sse', send, patience: 5 }),
      /page 1 of .* got nothing of \d+ messages/,
    );
    for (const server of [deaf, hearing]) {
      server.close();
      server.closeAllConnections();
    }
  });

  test('is not judged by pages that have connections of their own, or that the adapter does not open', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const adapter = (name: string, open: string): string => {
      const file = join(folder, `${name}.mjs`);
      const pages = 'const pages = new Map();';
      const send = 'async send({ user, text }) { for (const each of pages.get(user)) each.message(text); }';
      writeFileSync(
        file,
        `${pages} export default () => ({ name: 'x', open({ user }, events) { ${open} }, ${send} });`,
      );
      return file;
    };
    const own = `
      events.connected();
      pages.set(user, [...(pages.get(user) ?? []), events]);
      return { close() {} };`;
    for (const [file, message] of [
      [adapter('own', own), /has no connection that could be broken: the adapter has to connect to the url/],
      [adapter('never', 'return new Promise(() => {});'), /the adapter has not opened a page in 3 s/],
      [adapter('throws', 'throw new Error("no key");'), /no key/],
    ] as const) {
      await assert.rejects(proven({ urls: ['http://127.0.0.1:1/'], adapter: file, patience: 3 }), message);
    }
  });

  test('is judged even where the adapter can not be closed', async (t) => {
    const server = streamServer();
    const url = await listening(server);
    const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
    t.after(() => {
      server.close();
      server.closeAllConnections();
      rmSync(folder, { recursive: true });
    });
    const file = join(folder, 'unclosable.mjs');
    const sse = new URL('../../src/prove/adapters/sse.ts', import.meta.url).href;
    writeFileSync(
      file,
      `import { sse } from '${sse}';
      export default (context) => ({ ...sse(context), close() { throw new Error('no'); } });`,
    );
    const { failures } = await proven({ urls: [url], adapter: file, time: 1 });
    assert.deepEqual(failures, []);
  });

  test('that is gone in the middle: pages that do not come back are named, and what they miss is not called lost', async () => {
    const server = streamServer();
    const urls = [await listening(server)];
    const say = (text: string): void => {
      if (!text.includes('s of faults')) return;
      setTimeout(() => {
        server.close();
        server.closeAllConnections();
      }, 300);
    };
    const running = proven({ urls, adapter: 'sse', time: 1, patience: 5, say });
    const { failures, notBack, lost } = await running;
    assert.equal(notBack.length, 8);
    assert.equal(lost, 0);
    assert.match(failures[0]!, /^8 of 8 pages did not come back: page 1 of/);
    assert.match(failures[1]!, /^the server accepts no more messages to prove-\w+-\d: .*ECONNREFUSED/);
    assert.equal(failures.length, 2);
  });
});

/** `npm run conformance`: tidings passes the quick groups in both roles; output, report and exit status. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { cases, quickPatterns, selectCases } from '../../src/check/index.ts';
import { freePort } from '../support/net.ts';
import { typescript, uncovered } from '../support/programs.ts';
import { startBrokenServer } from './broken-server.ts';

const program = join(fileURLToPath(import.meta.url), '../run.ts');

function run(...args: string[]): Promise<{ status: number; output: string; errors: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [...typescript, program, ...args],
      { maxBuffer: 64 * 1024 * 1024, env: uncovered },
      (error, output, errors) => resolve({ status: error ? Number(error.code) : 0, output, errors }),
    );
  });
}

test('tidings passes every quick case strictly, as a server and as a client', {
  timeout: 600_000,
}, async () => {
  // Time limits only end cases that fail, so they can be generous.
  const { status, output, errors } = await run('--short', '--parallel', '16', '--patience', '20');
  assert.equal(status, 0, output + errors);
  const quick = selectCases(quickPatterns);
  const ofAutobahn = quick.filter((one) => cases.includes(one)).length;
  const beyond = quick.length - ofAutobahn;
  for (const role of ['server', 'client']) {
    assert.ok(
      output.includes(`${role} tidings: ${ofAutobahn} cases: ${ofAutobahn} passed, 0 failed\n`),
      output,
    );
    assert.ok(
      output.includes(`${role} tidings, beyond the Autobahn suite: ${beyond} cases: ${beyond} passed`),
    );
  }
});

test('with its defaults tidings passes a case of each kind that takes long', {
  timeout: 600_000,
}, async () => {
  const { status, output, errors } = await run(
    ...['--cases', '9.1.6,9.3.1,9.3.2,9.4.1,9.4.2,9.6.1,9.7.6,12.1.3,12.5.5,13.2.4,13.3.4,13.5.11,13.7.5'],
    ...['--messages', '100', '--patience', '20'],
  );
  assert.equal(status, 0, output + errors);
  assert.match(output, /^server tidings: 13 cases: 13 passed, 0 failed$/m);
  assert.match(output, /^client tidings: 13 cases: 13 passed, 0 failed$/m);
});

test('with its defaults tidings on an HTTP server passes the cases of its first frames and those of most fragments', {
  timeout: 600_000,
}, async () => {
  const { status, output, errors } = await run(
    ...[
      '--peer',
      'tidings-http',
      '--cases',
      '1.*,2.*,5.*,7.*,9.3.1,9.4.1,12.1.3,T.*',
      '--messages',
      '100',
      '--patience',
      '20',
    ],
  );
  assert.equal(status, 0, output + errors);
  assert.match(output, /^server tidings-http: 87 cases: 87 passed, 0 failed$/m);
});

test('a failed case makes the exit status 1, and the report says what came', {
  timeout: 600_000,
}, async () => {
  const server = await startBrokenServer('sends no pongs');
  const outdir = mkdtempSync(join(tmpdir(), 'tidings-conformance-'));
  const { status, output } = await run(
    server.url.href,
    ...['--cases', '1.1.1,2.2', '--agent', 'Broken <1>', '--outdir', outdir, '--patience', '5'],
  );
  await server.close();
  assert.equal(status, 1);
  assert.match(output, /^2\.2: FAILED, closing OK\. Sends a ping with a text payload\.$/m);
  assert.match(output, /^ {4}Waited 10 s for the pong Hello, world!\.$/m);
  assert.match(output, /^server Broken <1>: 2 cases: 1 passed, 1 failed$/m);

  const index = JSON.parse(readFileSync(join(outdir, 'index.json'), 'utf8'));
  assert.deepEqual(Object.keys(index), ['Broken <1>']);
  const passed = index['Broken <1>']['1.1.1'];
  assert.deepEqual(Object.keys(passed).sort(), [
    'behavior',
    'behaviorClose',
    'duration',
    'remoteCloseCode',
    'reportfile',
  ]);
  assert.deepEqual(
    { ...passed, duration: 0 },
    {
      behavior: 'OK',
      behaviorClose: 'OK',
      duration: 0,
      remoteCloseCode: 1000,
      reportfile: 'broken__1_case_1_1_1.json',
    },
  );
  assert.equal(index['Broken <1>']['2.2'].behavior, 'FAILED');
  const ofCase = JSON.parse(readFileSync(join(outdir, index['Broken <1>']['2.2'].reportfile), 'utf8'));
  assert.equal(ofCase.closedByMe, true);
  assert.ok(ofCase.wirelog.some(({ text }: { text: string }) => text.includes('opcode 9')));

  const page = readFileSync(join(outdir, 'index.html'), 'utf8');
  assert.match(page, /Broken &lt;1&gt;/);
  assert.doesNotMatch(page, /Broken <1>/);
  assert.match(readFileSync(join(outdir, 'broken__1_case_2_2.html'), 'utf8'), /Hello, world!/);
  rmSync(outdir, { recursive: true });
});

test('--json prints one line for each role, with every verdict', { timeout: 600_000 }, async () => {
  const { status, output } = await run(
    '--peer',
    'ws',
    '--cases',
    '1.1.1,7.13.1',
    '--json',
    '--patience',
    '20',
  );
  assert.equal(status, 0);
  const roles = output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    roles.map(({ role, agent, cases: count, passed }) => [role, agent, count, passed]),
    [
      ['server', 'ws', 2, 2],
      ['client', 'ws', 2, 2],
    ],
  );
  assert.deepEqual(
    roles[0].results.map(({ id, behavior }: { id: string; behavior: string }) => [id, behavior]),
    [
      ['1.1.1', 'OK'],
      ['7.13.1', 'INFORMATIONAL'],
    ],
  );
});

test('--help explains, and what can not be meant is told with status 1', { timeout: 600_000 }, async () => {
  const [help, peer, pattern, number] = await Promise.all([
    run('--help'),
    run('--peer', 'nobody'),
    run('--cases', '8.*'),
    run('--parallel', 'many'),
  ]);
  assert.equal(help.status, 0);
  for (const option of ['--listen', '--cases', '--short', '--json', '--parallel', '--outdir', '--peer']) {
    assert.ok(help.output.includes(option), option);
  }
  assert.equal(peer.status, 1);
  assert.match(peer.errors, /no such peer: nobody/);
  assert.equal(pattern.status, 1);
  assert.match(pattern.errors, /no case fits «8\.\*»/);
  assert.equal(number.status, 1);
  assert.match(number.errors, /--parallel must be a positive number/);
});

test('where nobody listens there is one message, not 517', { timeout: 600_000 }, async () => {
  const address = `ws://127.0.0.1:${await freePort()}/`;
  const { status, output, errors } = await run(address);
  assert.equal(status, 1);
  assert.equal(output, '');
  assert.equal(
    errors,
    `no WebSocket connection to ${address}: connect ECONNREFUSED ${new URL(address).host}\n`,
  );
});

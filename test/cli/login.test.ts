/** How pages sign in at `tidings serve` by what others have signed: tickets, tokens, several secrets at once. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { SignJWT } from 'jose';
import { WebSocket } from 'ws';
import { expiryOptions, loginInterceptors } from '../../src/cli/login.ts';
import { loginOptions } from '../../src/cli/login-options.ts';
import { readSettings, UsageError } from '../../src/cli/options.ts';
import { signTicket, verifyTicket } from '../../src/index.ts';
import { tidings } from '../support/cli.ts';

const [old, fresh] = ['an old secret of 16 bytes, with spaces', 'a new secret: 16 bytes, more'];
const known = new Set(Object.keys(loginOptions));

function settings(args: string[], environment: Record<string, string> = {}) {
  return readSettings(loginOptions, args, known, environment).values;
}

/** The status that a page with this ticket is answered with; 101 where it is let in. */
async function statusOf(ws: string, ticket: string, headers: Record<string, string> = {}): Promise<number> {
  const socket = new WebSocket(ws, ticket === '' ? [] : [`ticket.${ticket}`], { headers });
  socket.on('error', () => {});
  const status = await Promise.race([
    once(socket, 'open').then(() => 101),
    once(socket, 'unexpected-response').then(([, response]) => response.statusCode as number),
  ]);
  socket.terminate();
  return status;
}

async function serve(
  t: TestContext,
  args: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const program = tidings(t, ['serve', '--port', '0', '--policy-port', 'off', ...args], { environment });
  const [ws = ''] = await program.line(/^listening on (ws:\S+)$/m);
  return ws;
}

async function ticket(
  t: TestContext,
  args: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const program = tidings(t, ['ticket', 'alice', ...args], { environment });
  assert.equal(await program.status(), 0, program.stderr);
  return program.stdout.trim();
}

test('of several secrets the first signs and all verify: by flags, by the environment, by the file', async (t) => {
  const tickets = [signTicket('alice', { secret: old }), signTicket('alice', { secret: fresh })];
  const strange = signTicket('alice', { secret: 'a secret that nobody here knows' });
  const folder = mkdtempSync(join(tmpdir(), 'tidings-login-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'tidings.json');
  writeFileSync(file, JSON.stringify({ secret: [fresh, old] }));
  for (const [args, environment] of [
    [['--secret', fresh, '--secret', old], {}],
    [[], { TIDINGS_SECRET: `${fresh}\n${old}\n` }],
    [['--config', file], {}],
  ] as [string[], Record<string, string>][]) {
    const ws = await serve(t, args, environment);
    for (const each of tickets) assert.equal(await statusOf(ws, each), 101);
    assert.equal(await statusOf(ws, strange), 401);
    assert.equal(verifyTicket(await ticket(t, args, environment), { secret: fresh }).user, 'alice');
  }
});

test('ticket --login says which login it is', async (t) => {
  const signed = await ticket(t, ['--secret', fresh, '--login', 'J-81']);
  assert.equal(verifyTicket(signed, { secret: fresh }).login, 'J-81');
  const program = tidings(t, ['ticket', 'alice', '--secret', fresh, '--login', 'a\nb']);
  assert.equal(await program.status(), 2);
  assert.match(program.stderr, /login/);
});

test('tokens are taken by a secret and by a public key, of the issuer and for the audience that are given', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-login-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const file = join(folder, 'a key.pem');
  writeFileSync(file, publicKey.export({ type: 'spki', format: 'pem' }));
  const token = (alg: string, key: Parameters<SignJWT['sign']>[0], issuer = 'id'): Promise<string> =>
    new SignJWT({ email: 'alice', aud: 'push', iss: issuer })
      .setProtectedHeader({ alg })
      .setExpirationTime('5m')
      .sign(key);
  const secret = 'a secret of at least 32 bytes, for tokens';
  const demands = [
    '--jwt-issuer',
    'id',
    '--jwt-audience',
    'push',
    '--jwt-user',
    'email',
    '--jwt-cookie',
    'SESSION',
  ];
  for (const [args, good] of [
    [
      ['--jwt-secret', 'another secret of at least 32 bytes', '--jwt-secret', secret],
      await token('HS256', Buffer.from(secret)),
    ],
    [['--jwt-key', file], await token('EdDSA', privateKey)],
  ] as const) {
    const ws = await serve(t, [...args, ...demands]);
    assert.equal(await statusOf(ws, good), 101);
    assert.equal(await statusOf(ws, '', { Authorization: `Bearer ${good}` }), 101);
    assert.equal(await statusOf(ws, '', { Cookie: `SESSION=${good}` }), 101);
    assert.equal(await statusOf(ws, await token('HS256', Buffer.from(secret), 'another')), 401);
    assert.equal(await statusOf(ws, ''), 401);
  }
});

test('what makes no sense is said before anything starts', () => {
  for (const [args, message] of [
    [['--secret', 'short'], /at least 16 bytes/],
    [['--jwt-secret', 'short'], /at least 32 bytes/],
    [['--jwks', 'http://x/', '--jwt-secret', 'x'.repeat(32)], /one of --jwks/],
    [['--jwks', 'nowhere'], /jwks/],
    [['--jwt-issuer', 'id'], /--jwt-issuer is for tokens/],
    [['--jwt-key', '/nowhere/key.pem'], /--jwt-key '\/nowhere\/key.pem' can't be read/],
    [['--jwt-user', 'email'], /--jwt-user is for tokens/],
    [['--jwks', 'http://x/', '--jwt-algorithms', 'HS256'], /algorithms/],
  ] as [string[], RegExp][]) {
    assert.throws(
      () => loginInterceptors(settings(args)),
      (error: Error) => {
        assert.ok(error instanceof UsageError || error instanceof TypeError);
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.deepEqual(expiryOptions(settings([])), { leeway: 5_000, plain: 'close' });
  assert.deepEqual(expiryOptions(settings(['--expiry-leeway', '0', '--plain-expiry', 'keep'])), {
    leeway: 0,
    plain: 'keep',
  });
  assert.throws(() => expiryOptions(settings(['--plain-expiry', 'never'])), /close or keep/);
});

test('without the package jose, --jwks says once what to install, and ends', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-no-jose-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  for (const part of ['dist', 'package.json', 'node_modules/redis-parser', 'node_modules/redis-errors']) {
    cpSync(part, join(folder, part), { recursive: true });
  }
  const args = [
    'dist/cli.js',
    'serve',
    '--port',
    '0',
    '--policy-port',
    'off',
    '--jwks',
    'http://127.0.0.1:1/keys',
  ];
  const [status, output] = await new Promise<[unknown, string]>((resolve) => {
    execFile(process.execPath, args, { cwd: folder, timeout: 120_000 }, (error, stdout, stderr) =>
      resolve([error?.code, stdout + stderr]),
    );
  });
  assert.equal(status, 1);
  assert.match(output, /^\S+ error start-failed: .*npm install jose.*\n$/);
});

/** docs/admin.md is true: it lists every request and every error, and its commands do what it says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorAnswers } from '../../src/admin/openapi.ts';
import { adminRoutes } from '../../src/admin/routes.ts';
import { PushServer } from '../../src/push/index.ts';
import { blocks } from '../support/markdown.ts';
import { needs } from '../support/programs.ts';
import { adminOf, serving } from './support.ts';

const page = readFileSync('docs/admin.md', 'utf8');

test('docs/admin.md lists every request with its scope, and no other', async () => {
  const push = new PushServer({});
  const actual = adminRoutes(push, { maxBody: 1 }).map(
    ({ method, path, scope = '' }) =>
      `${method} ${path.replace(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase())} ${scope}`,
  );
  const documented = [...page.matchAll(/^\| `([A-Z]+ \/\S*)` \| (\w*) ?\|/gm)].map(
    ([, request, scope]) => `${request} ${scope}`,
  );
  assert.deepEqual(documented.sort(), actual.sort());
  await push.close();
});

test('it lists every error, with its status', () => {
  const actual = Object.entries(errorAnswers).flatMap(([status, { codes }]) =>
    codes.map((code) => `${status} ${code}`),
  );
  const documented = [...page.matchAll(/^\| (\d{3}) +\| `(\w+)`/gm)].map(
    ([, status, code]) => `${status} ${code}`,
  );
  assert.deepEqual(documented.sort(), actual.sort());
});

test('its commands do what it says', needs('curl'), async (t) => {
  const push = new PushServer({ log: () => {} });
  await push.ready;
  const { port, close } = await serving(adminOf(push, { tokens: ['secret'] }));
  // What curl is to do besides: fail where the answer is an error, and end where it is one without end.
  const homeWith = (seconds: number): string => {
    const home = mkdtempSync(join(tmpdir(), 'tidings-curl-'));
    writeFileSync(join(home, '.curlrc'), `fail-with-body\nsilent\nshow-error\nmax-time = ${seconds}\n`);
    return home;
  };
  const homes = { endless: homeWith(5), usual: homeWith(60) };
  t.after(async () => {
    for (const home of Object.values(homes)) rmSync(home, { recursive: true });
    close();
    await push.close();
  });
  const commands = blocks(page).filter(
    ([language, text]) => /^(ba)?sh$/.test(language) && /^(curl|tidings\(\))/.test(text),
  );
  assert.ok(commands.length >= 3);
  const run = async ([, text]: (typeof commands)[number]): Promise<void> => {
    const script = text.replaceAll('127.0.0.1:9090', `127.0.0.1:${port}`);
    await new Promise<void>((resolve, reject) => {
      const mayBeEndless = text.includes('/frames');
      const home = mayBeEndless ? homes.endless : homes.usual;
      const env = { ...process.env, TOKEN: 'secret', CURL_HOME: home };
      execFile('bash', ['-ec', script], { env }, (error, stdout, stderr) => {
        const isEndless = mayBeEndless && error?.code === 28;
        if (error === null || isEndless) resolve();
        else reject(new Error(`${text}\n${stdout}${stderr}`));
      });
    });
  };
  await Promise.all(commands.map(run));
  const { messages } = await push.inbox('alice');
  assert.deepEqual(messages.map(({ state }) => state).filter((state) => state !== 'read').length <= 1, true);
  assert.equal((await push.scheduled({ user: 'alice' })).count, 1);
  assert.deepEqual(await push.blocks(), []);
});

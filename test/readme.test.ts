/** README.md is true: its program runs, and what it refers to is there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { launchChromium, recordErrors } from './support/chromium.ts';
import { freePort, until } from './support/net.ts';
import { installPackage } from './support/package.ts';
import { needs, uncovered } from './support/programs.ts';

const readme = readFileSync('README.md', 'utf8');
const [, program = ''] = /```js\n(.*?)```/s.exec(readme) ?? [];

test('the program on the first screen works when it is pasted', needs('chromium'), async (t) => {
  const installed = await installPackage();
  t.after(() => installed.remove());
  writeFileSync(join(installed.folder, 'embed.mjs'), program);
  const port = await freePort();
  const child = spawn(process.execPath, ['embed.mjs'], {
    cwd: installed.folder,
    env: { ...uncovered, PORT: String(port) },
    stdio: 'inherit',
  });
  t.after(() => child.kill());
  await until('the server', () => fetch(`http://127.0.0.1:${port}/`).catch(() => undefined), 60_000);

  const browser = await launchChromium();
  t.after(() => browser.close());
  const page = await browser.newPage();
  page.setDefaultTimeout(60_000);
  const errors = recordErrors(page);
  await page.goto(`http://127.0.0.1:${port}/`);
  await page.getByText(/it is .* \| it is /).waitFor();
  assert.deepEqual(errors, []);
});

test('it is the one in examples/, and within the first screen', () => {
  assert.equal(program, readFileSync('examples/embed.mjs', 'utf8'));
  assert.ok(readme.slice(0, readme.indexOf(program) + program.length).split('\n').length <= 50);
});

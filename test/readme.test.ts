/** README.md is true: its program runs, and what it refers to is there. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commands } from '../src/cli/main.ts';
import { flagName } from '../src/cli/options.ts';
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

test('every command and every option that the documents name is there', () => {
  const options = new Set([
    'help',
    'version',
    'config',
    ...commands.flatMap(({ options }) => Object.keys(options).map(flagName)),
  ]);
  const names = commands.map(({ name }) => name);
  for (const file of ['README.md', 'README.zh-CN.md', 'docs/configuration.md']) {
    const text = readFileSync(file, 'utf8');
    // curl and nginx have options of their own; ours stand after a name of ours, or alone in backquotes.
    const lines = text.match(/(?:tidings|cli\.js) [a-z]+.*|`--[^`]+`/g) ?? [];
    assert.ok(lines.length > 5, file);
    for (const line of lines) {
      for (const [, option] of line.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)) {
        assert.ok(options.has(option as string), `${file}: --${option}`);
      }
    }
    for (const [, name] of text.matchAll(/(?:`tidings|cli\.js) ([a-z]+)/g)) {
      assert.ok(names.includes(name as string), `${file}: tidings ${name}`);
    }
  }
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { environmentName, flagName } from '../../src/cli/options.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';

const page = readFileSync('docs/configuration.md', 'utf8');

test('docs/configuration.md lists every setting of serve, with its three names and its default', () => {
  const rows = page
    .split('\n')
    .filter((line) => line.startsWith('| `--'))
    .map((line) =>
      line
        .replaceAll('\\|', '/')
        .split('|')
        .map((cell) => cell.trim()),
    );
  const documented = rows.map(([, flag, environment, key, shown]) => [
    flag?.replaceAll('`', '').split(' ')[0],
    environment,
    key,
    shown,
  ]);
  const actual = Object.entries(serveOptions).map(([key, { shown }]) => [
    `--${flagName(key)}`,
    `\`${environmentName(key)}\``,
    `\`${key}\``,
    shown === '' ? '' : `\`${shown}\``,
  ]);
  assert.deepEqual(documented, actual);
});

test('its example of a config file has only keys that there are', () => {
  const [, example = ''] = /```json\n(.*?)```/s.exec(page) ?? [];
  for (const key of Object.keys(JSON.parse(example))) assert.ok(key in serveOptions, key);
});

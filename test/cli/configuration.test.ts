import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { defaultBounds, parseLimits } from '../../src/cli/limits.ts';
import { environmentName, flagName, UsageError } from '../../src/cli/options.ts';
import { serveOptions } from '../../src/cli/serve-options.ts';

const page = readFileSync('docs/configuration.md', 'utf8');

test('docs/configuration.md lists every setting of serve, with its three names and its default', () => {
  const [, section = ''] = /## `tidings serve`\n(.*?)\n## /s.exec(page) ?? [];
  const rows = section
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

test('it lists every option of PushServer, in their order', () => {
  const source = readFileSync('src/push/options.ts', 'utf8');
  const [, declaration = ''] = /export interface PushServerOptions \{\n(.*?)\n\}/s.exec(source) ?? [];
  const options = [...declaration.matchAll(/^ {2}(\w+)\?: /gm)].map(([, name]) => name);
  const [, section = ''] = /## `PushServer`\n(.*?)\n## /s.exec(page) ?? [];
  const documented = [...section.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map(([, name]) => name);
  assert.ok(options.length > 20);
  assert.deepEqual(documented, options);
});

test('each default that its code states as a number is the one that the page shows', () => {
  const [, section = ''] = /## `PushServer`\n(.*?)\n## /s.exec(page) ?? [];
  const source = readFileSync('src/push/options.ts', 'utf8');
  for (const [, name, shown] of section.matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm)) {
    const [, comment = ''] = new RegExp(`/\\*\\*((?:(?!\\*/).)*)\\*/\\s+${name}\\?:`, 's').exec(source) ?? [];
    assert.match(comment, new RegExp(`Default ${shown}\\b`), name);
  }
});

test('it lists every limit with its default', () => {
  const [, section = ''] = /## Limits\n(.*?)\n## /s.exec(page) ?? [];
  const documented = [...section.matchAll(/^\| `(\w+)` +\| ([\d,]+) /gm)].map(([, name, value]) => [
    name,
    Number(value?.replaceAll(',', '')),
  ]);
  assert.deepEqual(documented, Object.entries(defaultBounds));
});

test('--limit changes what it names and leaves the rest', () => {
  const plain = parseLimits([]);
  const { limits, retention } = parseLimits(['message=65536', 'inboxMessages=5', 'sessions=0']);
  assert.deepEqual(limits, { ...plain.limits, message: 65_536, sessions: 0 });
  assert.deepEqual(retention.inbox, { ...plain.retention.inbox, maxMessages: 5 });
  assert.deepEqual(retention.topic, plain.retention.topic);
});

test('a limit that is unknown, no number, or may not be 0 is refused', () => {
  for (const [text, message] of [
    ['mesage=1', /unknown name 'mesage'; did you mean message\?/],
    ['constructor=1', /unknown name/],
    ['message', /must be message=N/],
    ['message=-1', /must be/],
    ['message=1k', /must be/],
    ['message=0', /from 1/],
  ] as const) {
    assert.throws(
      () => parseLimits([text]),
      (error: Error) => error instanceof UsageError && message.test(error.message),
      text,
    );
  }
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const docs = readFileSync('docs/client.md', 'utf8');

/** The first column of the table under a heading, without backticks. */
function rows(heading: string): string[] {
  const section = docs.split(`## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return [...section.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name as string);
}

/** The members of an exported interface, as the source has them. */
function members(file: string, name: string): string[] {
  const source = readFileSync(`src/client/${file}`, 'utf8');
  const body = source.split(`export interface ${name}`)[1]?.split('\n}')[0] ?? '';
  return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member as string);
}

test('docs/client.md lists every option, and no other', () => {
  assert.deepEqual(rows('connect(options)').sort(), members('options.ts', 'ConnectOptions').sort());
});

test('docs/client.md lists every event and every state, and no other', () => {
  const states = ['connecting', 'connected', 'waiting', 'paused', 'closed'];
  assert.deepEqual(rows('Events').sort(), [...members('events.ts', 'ClientEvents'), ...states].sort());
});

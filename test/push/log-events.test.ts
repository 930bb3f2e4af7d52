/** docs/logs.md: which events there are. Each that the source names is there, and none else. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { test } from 'node:test';

const LEVELS = ['debug', 'info', 'warn', 'error', 'any'];
/** Where labels of metrics and what is told to who follows a user are called events. */
const OTHERS = /metrics\.ts$|watch(ing)?\b/;
/** Not the parameter of a function, as in `on(event: 'error', …)`. */
const NAMED = /(?<![(\w] ?)\bevent: ([^,\n}]+)/g;

function eventsOfSource(): Map<string, string> {
  const found = new Map<string, string>();
  for (const entry of readdirSync('src', { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const path = join(entry.parentPath, entry.name);
    // What pages and the conformance cases call events is something else.
    if (['client', 'check'].includes(path.split(sep)[1]!) || OTHERS.test(path)) continue;
    for (const [, value] of readFileSync(path, 'utf8').matchAll(NAMED)) {
      const name = /^'([a-z][a-z0-9-]*)'$/.exec(value!.trim())?.[1];
      if (name !== undefined) found.set(name, path);
    }
  }
  return found;
}

function eventsOfDocs(): { names: string[]; levels: string[]; rows: string[] } {
  const rows = readFileSync('docs/logs.md', 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'));
  return {
    rows,
    names: rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!)),
    levels: rows.flatMap((row) => row.split('|')[2]!.trim().split(', ')),
  };
}

test('docs/logs.md lists each event that the source names, once, and no other', () => {
  const { names, levels, rows } = eventsOfDocs();
  const ofSource = eventsOfSource();
  assert.deepEqual(
    [...ofSource].filter(([name]) => !names.includes(name)),
    [],
    'not in docs/logs.md',
  );
  assert.deepEqual(
    names.filter((name) => !ofSource.has(name)),
    [],
    'not in the source',
  );
  assert.equal(new Set(names).size, names.length);
  assert.deepEqual(
    levels.filter((level) => !LEVELS.includes(level)),
    [],
  );
  assert.deepEqual(
    rows.filter((row) => row.split('|').length !== 6),
    [],
  );
});

test('it names no event by anything but its name as it is', () => {
  for (const name of eventsOfSource().keys()) assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/);
});

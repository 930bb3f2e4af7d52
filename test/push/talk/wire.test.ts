import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CloseCode } from '../../../src/push/talk/wire.ts';

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const specification = read('docs/wire.md');
const source = read('src/push/talk/wire.ts');

test('docs/wire.md has the close codes of the code, and asks to reconnect below 4500 only', () => {
  const rows = [...specification.matchAll(/^\| (4\d{3}) +\| ([A-Z_]+) +\| (.+?) *\|$/gm)];
  assert.deepEqual(
    rows.map(([, code, name]) => [name, Number(code)]),
    Object.entries(CloseCode),
  );
  for (const [, code, , after] of rows) {
    assert.equal(after!.startsWith('reconnect'), Number(code) < 4500, `${code}: ${after}`);
  }
});

test('docs/wire.md has the error codes and the reasons of the code, and an example of each frame', () => {
  const literalsOf = (type: string): string[] => {
    const declaration = source.slice(source.indexOf(`export type ${type} =`));
    return [...declaration.slice(0, declaration.indexOf(';')).matchAll(/\| '([a-z-]+)'/g)].map(
      ([, text]) => text!,
    );
  };
  for (const type of ['ErrorCode', 'GapReason']) {
    const literals = literalsOf(type);
    assert.ok(literals.length > 2, type);
    for (const literal of literals) assert.match(specification, new RegExp(`^\\| \`${literal}\` +\\|`, 'm'));
  }
  const types = [...source.matchAll(/^ {2}type: '(\w+)';$/gm)].map(([, type]) => type);
  assert.ok(types.length >= 18);
  for (const type of types) assert.match(specification, new RegExp(`"type": ?"${type}"`), type);
});

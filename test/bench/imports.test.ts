/** The files of bench/ import each other in one direction only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { circles, sourcesIn } from '../support/imports.ts';

test('no file of bench/ imports itself by way of others', () => {
  const files = sourcesIn('bench');
  assert.ok(files.length > 30);
  assert.deepEqual(circles(files), []);
});

test('the check sees circles of any length, also those of types, and nothing else', () => {
  const of = (files: Record<string, string>) => circles(Object.keys(files), (file) => files[file]!);
  assert.deepEqual(
    of({ 'a.ts': `import type { B } from './x/b.ts';`, 'x/b.ts': `export * from '../a.ts';`, 'c.ts': '' }),
    [['a.ts', 'x/b.ts']],
  );
  assert.deepEqual(
    of({
      'a.ts': `import './b.ts';`,
      'b.ts': `const c = await import('./c.ts');`,
      'c.ts': `import { a } from './a.ts';\nimport { d } from './d.ts';`,
      'd.ts': `import { e } from './e.ts';`,
      'e.ts': `import { d } from './d.ts';`,
    }),
    [
      ['a.ts', 'b.ts', 'c.ts'],
      ['d.ts', 'e.ts'],
    ],
  );
  assert.deepEqual(of({ 'a.ts': `import './a.ts';` }), [['a.ts']]);
  assert.deepEqual(
    of({
      'a.ts': `import './b.ts';\nimport './c.ts';`,
      'b.ts': `import './c.ts';`,
      'c.ts': `// import './a.ts';`,
    }),
    [],
  );
});

/** What the pages of docs/ have in common: their links, their place in the site, and their Chinese texts. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listed } from '../site/pages.ts';
import { englishOf, isStale, translations } from '../site/translated.ts';
import { blocks, deadLinks } from './support/markdown.ts';

const pages = ['.', 'docs'].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);
const read = (file: string): string => readFileSync(file, 'utf8');

/** Blocks of code without their comments, which are translated; and of pictures made of text only that they are there. */
const code = (file: string): string[][] =>
  blocks(read(file)).map(([language, text]) => [
    language,
    language === '' ? '' : text.replace(/\s*(#|\/\/|--|<!--|\/\*) .*$/gm, ''),
  ]);

test('links inside the repository lead to a file, and to a heading of it', () => {
  assert.ok(pages.length > 20);
  assert.deepEqual(deadLinks('.', pages), []);
});

test('every page of docs/ has its place at the side of the site', () => {
  const english = pages.filter((file) => file.startsWith('docs') && !file.endsWith('.zh-CN.md'));
  assert.deepEqual(
    english.filter((file) => !listed.includes(file)),
    [],
    'put it into site/pages.ts',
  );
});

test('a Chinese page has the blocks of the English one, and a line that says from which text it was made', async (t) => {
  for (const file of translations()) {
    const english = englishOf(file);
    assert.deepEqual(code(file), code(english), file);
    assert.match(read(file), /\n<!-- \S+ [0-9a-f]{12} -->\n$/, `npm run translated -- ${file}`);
    // Said, and no fault: who changes an English page need not write Chinese. The site says it to the reader, too.
    await t.test(
      `${file} is as new as ${english}`,
      { todo: isStale(file) && 'the English page was changed' },
      () => {
        if (isStale(file)) assert.fail(`look what was changed, then: npm run translated -- ${file}`);
      },
    );
  }
});

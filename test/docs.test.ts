/** What the pages of docs/ have in common: their links, their place in the site, and their Chinese texts. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { listed } from '../site/pages.ts';
import { slug } from '../site/slug.ts';
import { englishOf, isStale, translations } from '../site/translated.ts';
import { blocks } from './support/markdown.ts';

const pages = ['.', 'docs'].flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name)),
);
const read = (file: string): string => readFileSync(file, 'utf8');
/** Links in blocks of code are none. */
const prose = (file: string): string => read(file).replace(/^```.*?^```/gms, '');

function anchorsOf(file: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading] of prose(file).matchAll(/^#+ (.*)$/gm)) {
    const plain = slug(heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1'));
    let anchor = plain;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${plain}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/** Blocks of code without their comments, which are translated; and of pictures made of text only that they are there. */
const code = (file: string): string[][] =>
  blocks(read(file)).map(([language, text]) => [
    language,
    language === '' ? '' : text.replace(/\s*(#|\/\/|--|<!--|\/\*) .*$/gm, ''),
  ]);

test('links inside the repository lead to a file, and to a heading of it', () => {
  assert.ok(pages.length > 20);
  for (const file of pages) {
    for (const [, path, anchor] of prose(file).matchAll(/\]\(([^)#\s]*)(?:#([^)\s]+))?\)/g)) {
      if (/^[a-z]+:/.test(path!)) continue;
      const target = path === '' ? file : join(dirname(file), decodeURI(path!));
      assert.ok(existsSync(target), `${file}: ${path}`);
      if (anchor !== undefined && target.endsWith('.md'))
        assert.ok(anchorsOf(target).has(decodeURI(anchor)), `${file}: ${target} has no heading #${anchor}`);
    }
  }
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

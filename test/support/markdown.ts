/** Pages in Markdown: their blocks of code, links and headings. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { slug } from '../../site/slug.ts';

/** Blocks of code in a page. */
export interface Block {
  /** What stands behind the backquotes, such as `js`. */
  language: string;
  text: string;
  /** The line that it begins at, counted from 1. */
  line: number;
}

export function blocksWithLines(page: string): Block[] {
  return [...page.matchAll(/^ *```([\w-]*)[^\n]*\n(.*?)^ *```$/gms)].map(
    ({ index, 1: language, 2: text }) => ({
      language: language!,
      text: text!,
      line: page.slice(0, index).split('\n').length + 1,
    }),
  );
}

export const blocks = (page: string): [language: string, text: string][] =>
  blocksWithLines(page).map(({ language, text }) => [language, text]);

const prose = (page: string): string => page.replace(/^(`{3,}|~{3,})[^\n]*\n.*?^\1/gms, '');

/** What is at the end of the links of a page, of images too, in Markdown and in the HTML in it; not in code. */
export function linksIn(page: string): string[] {
  const text = prose(page).replace(/`[^`\n]*`/g, '');
  const patterns = [/\]\(<?([^)\s>]+)/g, /^\[[^\]]+\]:\s*(\S+)/gm, /\b(?:src|href|srcset)="([^"]+)"/g];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, target]) => target!));
}

/** The names by which links lead to the headings of a page, and to what has a name in its HTML. */
export function anchorsIn(page: string): Set<string> {
  const text = prose(page);
  const anchors = new Set([...text.matchAll(/\b(?:id|name)="([^"]+)"/g)].map(([, name]) => name!));
  for (const [, heading] of text.matchAll(/^#+ (.*)$/gm)) {
    const plain = slug(heading!.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').replace(/<[^>]+>/g, ''));
    let anchor = plain;
    for (let count = 1; anchors.has(anchor); count++) anchor = `${plain}-${count}`;
    anchors.add(anchor);
  }
  return anchors;
}

/**
 * The links of pages that lead nowhere.
 *
 * @param files paths below `root`, which no link may leave
 */
export function deadLinks(root: string, files: string[]): string[] {
  const read = (path: string): string => readFileSync(path, 'utf8');
  return files.flatMap((file) =>
    linksIn(read(join(root, file))).flatMap((link) => {
      if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return [];
      const [path = '', anchor = ''] = link.split('#').map((part) => decodeURI(part));
      const target = path === '' ? join(root, file) : join(root, dirname(file), path);
      if (relative(root, target).startsWith('..') || !existsSync(target)) return [`${file}: ${link}`];
      const isThere = anchor === '' || !target.endsWith('.md') || anchorsIn(read(target)).has(anchor);
      return isThere ? [] : [`${file}: ${link}, which is no heading there`];
    }),
  );
}

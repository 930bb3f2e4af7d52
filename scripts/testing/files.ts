/** Which test files there are, and in which order they are begun. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Those that take minutes have commands of their own: what pages do in Chromium (`npm run test:browser`), what is started
 * as a program (`npm run test:programs`), what compilers and bundlers make of the package (`npm run test:package`).
 */
export const APART = {
  browser: ['browser/'],
  programs: [
    'bench/',
    'chaos/',
    'cli/',
    'conformance/',
    'deploy/',
    'examples',
    'fuzz/',
    'languages.test.ts',
    'proxy/',
    'readme.test.ts',
    'tickets.test.ts',
  ],
  package: ['types/', 'bundles/', 'package'],
} satisfies Record<string, string[]>;

export type Set = keyof typeof APART;

export const isSet = (name: string): name is Set => Object.hasOwn(APART, name);

/** Those that take long, most of it waiting: begun first, so that none is left alone at the end. */
const LONG = [
  'ws/users',
  'push/presence-watch',
  'push/slow-pages',
  'push/rate',
  'push/endings-field',
  'push/damaged',
  'push/bounds',
  'sockjs/bounds',
  'push/round-trips',
  'push/sending/schedule',
  'push/talk/renewal',
  'push/recheck',
  'push/closing',
  'push/topic-presence',
  'sockjs/neighbours',
  'cli/serve',
  'push/delivery',
  'proxy',
  'pubsub',
  'client',
  'chaos',
].map((part) => join('test', part));

/** @param asked words that the paths hold, or sets; without any, all that are in no set */
export function testFiles(asked: { filters: string[]; sets: Set[] }): string[] {
  const { filters, sets } = asked;
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file));
  const isIn = (set: Set, file: string): boolean =>
    APART[set].some((part) => file.startsWith(join('test', part)));
  const all = Object.keys(APART) as Set[];
  const isAsked = (file: string): boolean =>
    filters.length + sets.length === 0
      ? !all.some((set) => isIn(set, file))
      : sets.some((set) => isIn(set, file)) || filters.some((filter) => file.includes(filter));
  return files.filter(isAsked).sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
}

function rank(file: string): number {
  const index = LONG.findIndex((part) => file.startsWith(part));
  return index === -1 ? LONG.length : index;
}

/** Which test files there are, and in which order they are begun. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Those that keep processors busy for minutes have commands of their own: what pages do in Chromium (`npm run test:browser`),
 * what is started as a program (`npm run test:programs`), what compilers and bundlers make of the package
 * (`npm run test:package`), and what plays thousands of random runs, ten thousand of something, or with other people's
 * servers (`npm run test:heavy`).
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
  package: ['types/', 'bundles/', 'client/bundle', 'package', 'ws/users'],
  heavy: [
    'prove/cli',
    'prove/docs',
    'prove/servers',
    'prove/synthetic',
    'protocol/properties',
    'pubsub/store/control-model',
    'pubsub/store/inbox-model',
    'pubsub/store/store-model',
    'push/endings-many',
    'push/inbox/model',
    'push/sending/send-many',
    'push/slow-pages',
    'server/idle',
    'sockjs/slow-neighbours',
    'sources/nats',
    'sources/outbox-',
    'sources/rabbitmq',
  ],
} satisfies Record<string, string[]>;

/** `usual` are all that are in no other: what `npm test` runs. */
export type Set = keyof typeof APART | 'usual';

export const SETS: readonly Set[] = ['usual', ...(Object.keys(APART) as (keyof typeof APART)[])];

/** Those whose processes are the code itself, not what is made of it: what they run counts as covered. */
export const COVERING: readonly Set[] = ['usual', 'heavy'];

/** Those that take long, the longest first: begun in this order before all others, so that none is left alone at the end. */
export const LONG = [
  ...['browser/sockjs.', 'bundles/', 'browser/share.', 'push/slow-pages', 'chaos/', 'types/programs'],
  ...[
    'sockjs/slow-',
    'sources/rabbitmq',
    'push/endings-many',
    'bench/base',
    'cli/workers',
    'pubsub/store/inbox-model',
  ],
  ...['ws/users', 'sources/outbox', 'push/sending/send-many', 'bench/connection', 'cli/serve', 'package'],
  ...[
    'fuzz/',
    'browser/hidden-tabs',
    'prove/synthetic',
    'push/inbox/model',
    'prove/servers',
    'browser/bell.',
  ],
  ...['browser/demo', 'cli/mixed-fleet', 'examples', 'cli/postgres', 'conformance/run', 'browser/site'],
  ...['proxy/rolling', 'browser/client', 'cli/reload', 'proxy/proxy', 'cli/sending', 'browser/tutorial'],
  ...['server/idle', 'sources/nats', 'languages', 'prove/cli', 'prove/docs', 'browser/inbox', 'cli/redis'],
  ...['cli/service-manager', 'conformance/', 'client/bundle', 'cli/', 'browser/'],

  ...['push/presence-', 'pubsub/store/postgres-broker', 'pubsub/store/postgres-send-anywhere'],
  ...['sockjs/neighbours', 'pubsub/store/broker.', 'pubsub/store/postgres-marks', 'pubsub/store/control.'],
  ...['push/sending/schedule', 'server/http2-attacks', 'push/round-trips', 'push/rate'],
  ...['ws/client-impolite', 'push/bounds', 'push/damaged', 'push/inbox/marks', 'sockjs/bounds'],
  ...['push/endings.', 'push/inbox/life', 'pubsub/store/postgres-failures', 'pubsub/store/redis-failures'],
  ...['pubsub/store/redis-marks', 'push/endings-field', 'push/recheck', 'push/inbox/', 'server/sender'],
  ...['server/http2', 'push/talk/', 'push/metrics', 'client/inbox-live', 'push/endings', 'ws/drop-in'],
  ...['protocol/compressed-limits', 'pubsub/store/redis-field', 'client/renewal', 'push/sending/'],
  ...['push/tracing/', 'protocol/zlib-queue', 'client/encode', 'pubsub/store/postgres-', 'push/topic-'],
  ...['client/fallback', 'push/delivery', 'push/closing', 'server/heartbeat', 'client/talk', 'testing'],
  ...['pubsub/', 'push/', 'client/', 'protocol/shared-context'],
];

/** @returns those whose paths hold one of the words, and those of the sets, in the order in which they are begun */
export function testFiles({
  filters = [],
  sets = [],
}: {
  filters?: string[];
  sets?: readonly Set[];
}): string[] {
  return readdirSync('test', { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .filter((file) => sets.includes(setOf(file)) || filters.some((filter) => file.includes(filter)))
    .sort(byLength);
}

function setOf(file: string): Set {
  const isIn = (parts: string[]): boolean => parts.some((part) => file.startsWith(join('test', part)));
  return SETS.find((set) => set !== 'usual' && isIn(APART[set])) ?? 'usual';
}

/** Whether it is not of the usual ones: the others keep processors busy, where those mostly wait. */
export function isApart(file: string): boolean {
  return setOf(file) !== 'usual';
}

/** Which of two files is begun first. */
export function byLength(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : 1);
}

function rank(file: string): number {
  const index = LONG.findIndex((part) => file.startsWith(join('test', part)));
  return index === -1 ? LONG.length : index;
}

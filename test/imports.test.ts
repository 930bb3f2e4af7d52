/** ARCHITECTURE.md: who may import whom. A folder of src/ that isn't in the table fails, too. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { importsOf, sourcesIn } from './support/imports.ts';

interface Room {
  /** Other rooms, or single files, it may import. */
  rooms: string[];
  /** Built-in modules; `all` where any will do. */
  builtins: 'all' | string[];
  packages: string[];
}

const below = ['metrics', 'protocol', 'server', 'sockjs', 'policy', 'pubsub'];
/** Node's timers, as they were before a test replaced them. */
const clock = 'clock.ts';
/** Node's events, before a server's listeners get them. */
const listenFirst = 'listen-first.ts';
/** Waiting that ends. */
const waiting = 'waiting.ts';
/** Misspelled options. */
const names = 'option-names.ts';
/** What log lines are made of. */
const logFields = 'log-fields.ts';
/** What pages of reports have in common. */
const reports = 'report-page.ts';
/** Files that go with the code. */
const beside = 'beside.ts';
const rooms: Record<string, Room> = {
  metrics: { rooms: [clock, 'version.ts'], builtins: ['node:perf_hooks'], packages: [] },
  // node:async_hooks, for callbacks to run where they were given.
  protocol: {
    rooms: [],
    builtins: ['node:async_hooks', 'node:buffer', 'node:crypto', 'node:zlib'],
    packages: [],
  },
  server: { rooms: ['protocol', clock, 'queue.ts', listenFirst], builtins: 'all', packages: [] },
  sockjs: {
    rooms: ['protocol', 'server', clock, waiting, 'queue.ts', listenFirst],
    builtins: 'all',
    packages: [],
  },
  policy: { rooms: [clock, listenFirst, logFields], builtins: 'all', packages: [] },
  pubsub: {
    rooms: ['metrics', clock, waiting, names, logFields, beside, 'queue.ts'],
    builtins: 'all',
    packages: ['redis-parser'],
  },
  push: {
    rooms: [...below, clock, waiting, names, logFields, 'queue.ts', 'small.ts', 'version.ts'],
    builtins: 'all',
    packages: [],
  },
  check: { rooms: [reports], builtins: 'all', packages: [] },
  prove: { rooms: ['push', 'client', 'ws.ts', 'queue.ts', waiting, reports], builtins: 'all', packages: [] },
  client: { rooms: ['push/talk/wire.ts'], builtins: [], packages: [] },
  demo: { rooms: [...below, 'push', beside], builtins: 'all', packages: [] },
  admin: {
    rooms: [...below, 'push', beside, clock, names, logFields, 'version.ts'],
    builtins: 'all',
    packages: [],
  },
  // The moments of the admin API's JSON, which is that of sources, too.
  sources: {
    rooms: [...below, 'push', 'admin/time.ts', beside, clock, waiting, names, logFields, 'queue.ts'],
    builtins: 'all',
    packages: [],
  },
  cli: {
    rooms: [...below, 'push', 'client', 'check', 'prove', 'demo', 'admin', 'sources', ''],
    builtins: 'all',
    packages: [],
  },
  // The entry points of the package, directly in src/.
  '': {
    rooms: [...below, 'push', 'client', 'check', 'prove', 'demo', 'admin', 'sources', 'cli'],
    builtins: 'all',
    packages: [],
  },
};

/** What is wrong with the imports of the file at `path`, a path below src/ with forward slashes. */
function violations(path: string, source: string): string[] {
  const name = path.includes('/') ? (path.split('/')[0] as string) : '';
  const room = rooms[name];
  if (room === undefined) return [`${path}: src/${name} is not in the table of rooms`];
  const found: string[] = [];
  for (const specifier of importsOf(source)) {
    if (specifier.startsWith('.')) {
      const target = relative('.', join(dirname(path), specifier)).replaceAll('\\', '/');
      const other = target.includes('/') ? (target.split('/')[0] as string) : '';
      if (other !== name && !room.rooms.includes(other) && !room.rooms.includes(target)) {
        found.push(`${path}: src/${name} may not import ${specifier}`);
      }
    } else if (specifier.startsWith('node:') || builtinModules.includes(specifier)) {
      if (room.builtins !== 'all' && !room.builtins.includes(specifier)) {
        found.push(`${path}: src/${name} may not import ${specifier}`);
      }
    } else if (!room.packages.includes(specifier)) {
      found.push(`${path}: src/${name} may not import the package ${specifier}`);
    }
  }
  return found;
}

/** Paths below src/. */
const files = readdirSync('src', { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => relative('src', join(entry.parentPath, entry.name)).replaceAll('\\', '/'));

/** Sets of files each of which imports, over others of the set, itself: Tarjan's strongly connected components. */
function circles(imports: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = [];
  const numbers = new Map<string, number>();
  const lowest = new Map<string, number>();
  const path: string[] = [];
  const visit = (file: string): number => {
    const number = numbers.size;
    numbers.set(file, number);
    path.push(file);
    let low = number;
    for (const other of imports.get(file) ?? []) {
      if (!numbers.has(other)) low = Math.min(low, visit(other));
      else if (path.includes(other)) low = Math.min(low, lowest.get(other) ?? numbers.get(other)!);
    }
    lowest.set(file, low);
    if (low === number) {
      const members = path.splice(path.indexOf(file));
      if (members.length > 1 || imports.get(file)?.includes(file)) found.push(members.toSorted());
    }
    return low;
  };
  for (const file of imports.keys()) if (!numbers.has(file)) visit(file);
  return found;
}

test('no file of src/ imports itself over others, types included', () => {
  const imports = new Map(
    files.map((file) => [
      file,
      importsOf(readFileSync(join('src', file), 'utf8'))
        .filter((specifier) => specifier.startsWith('.'))
        .map((specifier) => join(dirname(file), specifier).replaceAll('\\', '/')),
    ]),
  );
  assert.deepEqual(circles(imports), []);
});

test('the check sees a circle of any size, and no other', () => {
  const graph = (text: string): ReadonlyMap<string, string[]> =>
    new Map(text.split(' ').map((line) => [line[0]!, [...line.slice(1)]]));
  assert.deepEqual(circles(graph('ab bc cd d')), []);
  assert.deepEqual(circles(graph('abc bd cd d')), []);
  assert.deepEqual(circles(graph('aa')), [['a']]);
  assert.deepEqual(circles(graph('ab ba cb')), [['a', 'b']]);
  assert.deepEqual(circles(graph('ab bc cda de ef fd')), [
    ['d', 'e', 'f'],
    ['a', 'b', 'c'],
  ]);
});

test('imports between the folders of src/ go downwards only', () => {
  assert.ok(files.length > 10);
  assert.deepEqual(
    files.flatMap((file) => violations(file, readFileSync(join('src', file), 'utf8'))),
    [],
  );
});

test('the Redis client knows nothing of what is stored with it', () => {
  const upwards = files
    .filter((file) => file.startsWith('pubsub/redis/'))
    .filter((file) =>
      importsOf(readFileSync(join('src', file), 'utf8')).some((path) => path.includes('/store/')),
    );
  assert.deepEqual(upwards, []);
});

test('the check sees every form of import that points upwards', () => {
  for (const [path, source] of [
    ['protocol/a.ts', `import { connect } from 'node:net';`],
    ['protocol/a.ts', `import { EventEmitter } from 'events';`],
    ['protocol/sub/a.ts', `export * from '../../server/index.ts';`],
    ['server/a.ts', `import type {\n  Session,\n} from '../push/session.ts';`],
    ['policy/a.ts', `import '../server/index.ts';`],
    ['pubsub/a.ts', `const x = await import('../push/index.ts');`],
    ['push/a.ts', `import { run } from '../cli.ts';`],
    ['client/a.ts', `import { Broker } from '../pubsub/broker.ts';`],
    ['client/a.ts', `import { x } from '../push/session.ts';`],
    ['client/a.ts', `import { createHash } from 'node:crypto';`],
    ['server/a.ts', `import WebSocket from 'ws';`],
    ['elsewhere/a.ts', ''],
  ] as const) {
    assert.equal(violations(path, source).length, 1, `${path}: ${source}`);
  }
  assert.deepEqual(violations('client/a.ts', `import type { Hello } from '../push/talk/wire.ts';`), []);
  assert.deepEqual(violations('server/a.ts', `// See require('ws'),\n/* or import('express') */`), []);
  assert.deepEqual(violations('server/a.ts', `import { x } from '../protocol/index.ts';`), []);
});

test('processes that tests start run TypeScript as the tests do: only then is what they cover counted right', () => {
  const wrong = ['test', 'bench']
    .flatMap((folder) => sourcesIn(folder))
    .filter((file) => /'--import',\s*(?:'tsx'|import\.meta\.resolve\('tsx)/.test(readFileSync(file, 'utf8')));
  assert.deepEqual(wrong, [], 'start them with ...typescript, of test/support/programs.ts');
});

test('redis-parser is the one runtime dependency; others are asked for where somebody has them', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.deepEqual(Object.keys(manifest.dependencies), ['redis-parser']);
  for (const kind of ['optionalDependencies', 'bundledDependencies']) assert.equal(manifest[kind], undefined);
  for (const peer of Object.keys(manifest.peerDependencies)) {
    assert.deepEqual(manifest.peerDependenciesMeta[peer], { optional: true }, peer);
  }
});

test('what runs on a server takes timers from clock.ts, so that no test can stop them for it', () => {
  const timer =
    /(?<![.\w])(?:process\.nextTick|performance\.now|(?:set|clear)(?:Timeout|Interval|Immediate)|queueMicrotask)\(/;
  const wrong: string[] = [];
  for (const room of ['metrics', 'server', 'sockjs', 'policy', 'pubsub', 'push', 'sources']) {
    for (const file of readdirSync(join('src', room), { recursive: true, encoding: 'utf8' })) {
      if (!file.endsWith('.ts')) continue;
      const source = readFileSync(join('src', room, file), 'utf8');
      const taken = /import \{([^}]*)\} from '[./]*clock\.ts'/.exec(source)?.[1] ?? '';
      for (const [call] of source.replace(/^\s*(?:\*|\/\/|\/\*).*$/gm, '').matchAll(new RegExp(timer, 'g'))) {
        if (!taken.includes(call.slice(0, -1))) wrong.push(`${room}/${file}: ${call}…)`);
      }
    }
  }
  assert.deepEqual(wrong, []);
});

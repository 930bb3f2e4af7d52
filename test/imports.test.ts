/** ARCHITECTURE.md: who may import whom. A folder of src/ that isn't in the table fails, too. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { importsOf } from './support/imports.ts';

interface Room {
  /** Other rooms, or single files, it may import. */
  rooms: string[];
  /** Built-in modules; `all` where any will do. */
  builtins: 'all' | string[];
  packages: string[];
}

const below = ['protocol', 'server', 'sockjs', 'policy', 'pubsub'];
/** Node's timers, as they were before a test replaced them. */
const clock = 'clock.ts';
const rooms: Record<string, Room> = {
  protocol: { rooms: [], builtins: ['node:buffer', 'node:crypto', 'node:zlib'], packages: [] },
  server: { rooms: ['protocol', clock], builtins: 'all', packages: [] },
  sockjs: { rooms: ['protocol', 'server', clock], builtins: 'all', packages: [] },
  policy: { rooms: [clock], builtins: 'all', packages: [] },
  pubsub: { rooms: [clock], builtins: 'all', packages: ['redis-parser'] },
  push: { rooms: [...below, clock], builtins: 'all', packages: [] },
  check: { rooms: [], builtins: 'all', packages: [] },
  client: { rooms: ['push/wire.ts'], builtins: [], packages: [] },
  demo: { rooms: [...below, 'push'], builtins: 'all', packages: [] },
  cli: { rooms: [...below, 'push', 'client', 'check', 'demo', ''], builtins: 'all', packages: [] },
  // The entry points of the package, directly in src/.
  '': { rooms: [...below, 'push', 'client', 'check', 'demo', 'cli'], builtins: 'all', packages: [] },
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

test('imports between the folders of src/ go downwards only', () => {
  const files = readdirSync('src', { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative('src', join(entry.parentPath, entry.name)).replaceAll('\\', '/'));
  assert.ok(files.length > 10);
  assert.deepEqual(
    files.flatMap((file) => violations(file, readFileSync(join('src', file), 'utf8'))),
    [],
  );
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
  assert.deepEqual(violations('client/a.ts', `import type { Hello } from '../push/wire.ts';`), []);
  assert.deepEqual(violations('server/a.ts', `// See require('ws'),\n/* or import('express') */`), []);
  assert.deepEqual(violations('server/a.ts', `import { x } from '../protocol/index.ts';`), []);
});

test('redis-parser is the one runtime dependency', () => {
  const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
  assert.deepEqual(Object.keys(manifest.dependencies), ['redis-parser']);
  for (const kind of ['peerDependencies', 'optionalDependencies', 'bundledDependencies']) {
    assert.equal(manifest[kind], undefined);
  }
});

test('what runs on a server takes timers from clock.ts, so that no test can stop them for it', () => {
  const timer =
    /(?<![.\w])(?:process\.nextTick|performance\.now|(?:set|clear)(?:Timeout|Interval|Immediate)|queueMicrotask)\(/;
  const wrong: string[] = [];
  for (const room of ['server', 'sockjs', 'policy', 'pubsub', 'push']) {
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

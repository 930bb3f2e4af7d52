import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { commands, configKeys } from '../../src/cli/main.ts';
import {
  environmentName,
  flag,
  flagName,
  integer,
  list,
  once,
  readSettings,
  text,
  UsageError,
} from '../../src/cli/options.ts';
import { closest } from '../../src/option-names.ts';

const options = {
  host: text('HOST', '', '127.0.0.1'),
  port: integer('PORT', '', { min: 0, max: 65_535, fallback: 8080 }),
  adminToken: text('TOKEN', ''),
  demo: flag(''),
  origins: list('ORIGIN', '', /[\s,]+/),
};
const known = new Set([...Object.keys(options), 'elsewhere']);

function read(args: string[], environment: NodeJS.ProcessEnv = {}) {
  return readSettings(options, args, known, environment);
}

function config(t: TestContext, content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-config-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'tidings.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

test('without anything, the defaults hold', () => {
  const { values, sources, positionals } = read([]);
  assert.deepEqual(values, {
    host: '127.0.0.1',
    port: 8080,
    adminToken: undefined,
    demo: false,
    origins: [],
  });
  assert.equal(sources.port, 'default');
  assert.deepEqual(positionals, []);
});

test('flags win over the environment, the environment over the file, the file over defaults', (t) => {
  const path = config(t, { port: 1, host: 'file', adminToken: 'file', demo: true, elsewhere: 1 });
  const environment = { TIDINGS_CONFIG: path, TIDINGS_PORT: '2', TIDINGS_ADMIN_TOKEN: 'environment' };
  const { values, sources } = read(['--port', '3'], environment);
  assert.deepEqual(values, { host: 'file', port: 3, adminToken: 'environment', demo: true, origins: [] });
  assert.deepEqual(sources, {
    host: 'file',
    port: 'flag',
    adminToken: 'environment',
    demo: 'file',
    origins: 'default',
  });
});

test('a list takes repetition, separators, and a JSON list', (t) => {
  assert.deepEqual(read(['--origins', 'a,b', '--origins=c']).values.origins, ['a', 'b', 'c']);
  assert.deepEqual(read([], { TIDINGS_ORIGINS: 'a  b,c' }).values.origins, ['a', 'b', 'c']);
  const path = config(t, { origins: ['a', 'b'] });
  assert.deepEqual(read(['--config', path]).values.origins, ['a', 'b']);
});

test('of a single value that is given twice, the last holds', () => {
  assert.equal(read(['--port', '1', '--port=2']).values.port, 2);
});

test('what follows -- is not an option', () => {
  assert.deepEqual(read(['alice', '--', '--port']).positionals, ['alice', '--port']);
  assert.deepEqual(read(['alice', '-']).positionals, ['alice', '-']);
});

test('what is unknown or out of range is named, with where it stands and what was likely meant', (t) => {
  const cases: [args: string[], environment: NodeJS.ProcessEnv, message: RegExp][] = [
    [['--prot', '1'], {}, /^unknown option --prot; did you mean --port\?$/],
    [['--nothing-like-it'], {}, /^unknown option --nothing-like-it$/],
    [['-x'], {}, /^unknown option -x/],
    [['--port'], {}, /^--port needs a value$/],
    [['--port', 'many'], {}, /^--port 'many' must be a whole number from 0 to 65535$/],
    [['--port', '65536'], {}, /^--port '65536' must be/],
    [[], { TIDINGS_PORT: '-1' }, /^TIDINGS_PORT '-1' must be/],
    [[], { TIDINGS_DEMO: 'yes' }, /^TIDINGS_DEMO 'yes' must be true or false$/],
    [
      ['--config', '/nowhere/tidings.json'],
      {},
      /^can't read the config file \/nowhere\/tidings\.json: ENOENT/,
    ],
    [['--config', config(t, { prot: 1 })], {}, /unknown key "prot"; did you mean "port"\?$/],
    [['--config', config(t, { port: 'x' })], {}, /tidings\.json: "port" 'x' must be/],
    [['--config', config(t, { host: { a: 1 } })], {}, /"host" must be a string, a number, true, false/],
    [['--config', config(t, '{')], {}, /is not JSON/],
    [['--config', config(t, '[]')], {}, /must hold one JSON object/],
  ];
  for (const [args, environment, message] of cases) {
    assert.throws(
      () => read(args, environment),
      (error: Error) => error instanceof UsageError && message.test(error.message),
      `${args.join(' ')} ${JSON.stringify(environment)}`,
    );
  }
});

test('a key named like a property of every object is unknown, not inherited', (t) => {
  for (const key of ['__proto__', 'constructor', 'toString']) {
    assert.throws(() => read(['--config', config(t, `{"${key}": 1}`)]), /unknown key/);
    assert.throws(() => read([`--${key}`]), /unknown option/);
  }
});

test('one setting has one name in three spellings', () => {
  assert.equal(flagName('adminToken'), 'admin-token');
  assert.equal(environmentName('adminToken'), 'TIDINGS_ADMIN_TOKEN');
  assert.equal(closest('prt', ['port', 'path']), 'port');
  assert.equal(closest('zzzz', ['port', 'path']), undefined);
});

test('what one call is about is only said with it, not by the environment or the file', (t) => {
  const own = { ...options, at: once(text('TIME', '')) };
  const from = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings(own, args, new Set(Object.keys(options)), environment).values.at;
  assert.equal(from(['--at', 'noon']), 'noon');
  assert.equal(from([], { TIDINGS_AT: 'noon' }), undefined);
  assert.throws(() => from(['--config', config(t, { at: 'noon' })]), /unknown key "at"/);
});

test('one file serves all commands: what several of them read from it is the same to each', () => {
  const meanings = new Map<string, string>();
  for (const { name, options } of commands) {
    for (const [key, { kind, placeholder, fallback, isOfOneCall }] of Object.entries(options)) {
      if (isOfOneCall) continue;
      assert.ok(configKeys.has(key));
      // Of numbers, the placeholder says what they count.
      const meaning = typeof fallback === 'number' ? `${kind} ${placeholder}` : kind;
      assert.equal(meaning, meanings.get(key) ?? meaning, `${name} --${flagName(key)}`);
      meanings.set(key, meaning);
    }
  }
});

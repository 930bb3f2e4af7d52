import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Files } from '../../src/cli/files.ts';
import { commands, configKeys } from '../../src/cli/main.ts';
import {
  environmentName,
  file,
  fileList,
  flag,
  flagName,
  integer,
  list,
  once,
  readSettings,
  secret,
  sharedKey,
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

test('what is given by itself is one item, blanks and all; in one text blanks are between items', (t) => {
  const own = { audience: list('NAME', '', /\s+/), secrets: secret(list('SECRET', '', /[\r\n]+/)) };
  const from = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings(own, args, new Set(Object.keys(own)), environment).values;
  assert.deepEqual(from(['--audience', 'my api', '--audience= b ']).audience, ['my api', 'b']);
  assert.deepEqual(from(['--config', config(t, { audience: ['my api', 'b'] })]).audience, ['my api', 'b']);
  assert.deepEqual(from(['--config', config(t, { audience: 'my api' })]).audience, ['my', 'api']);
  assert.deepEqual(from([], { TIDINGS_AUDIENCE: 'my api\nb' }).audience, ['my', 'api', 'b']);
  // What a shell has read from a file.
  assert.deepEqual(from(['--audience', 'my api\nb\n']).audience, ['my api', 'b']);
  for (const args of [
    ['--secrets', ' a b\nc'],
    ['--config', config(t, { secrets: [' a b\nc'] })],
  ]) {
    assert.deepEqual(from(args).secrets, [' a b', 'c']);
  }
  // Where commas may be between them, blanks are as well.
  assert.deepEqual(read(['--origins', 'a, b c']).values.origins, ['a', 'b', 'c']);
});

test('a single value that is given twice is refused, and so is a list that names the same twice', (t) => {
  for (const [args, file, message] of [
    [['--port', '1', '--port=2'], {}, /^--port '1 2' is given more than once$/],
    [['--demo', '--demo'], {}, /^--demo 'true true' is given more than once$/],
    [['--origins', 'a', '--origins=b,a'], {}, /^--origins 'a b,a' names the same twice$/],
    [[], { port: [1, 2] }, /"port" must be a string or a number$/],
    [[], { origins: ['a', 'a'] }, /"origins" 'a a' names the same twice$/],
    [[], '{"port": 1, "host": "port", "p\\u006frt": 2}', /the key "port" is there twice$/],
    [['--config', 'x'], {}, /^--config is given more than once$/],
  ] as [string[], unknown, RegExp][]) {
    assert.throws(() => read([...args, '--config', config(t, file)]), {
      name: 'UsageError',
      message,
    });
  }
  const nested = '{"origins": ["a", "b"], "elsewhere": ["origins", "{\\"", "origins"]}';
  assert.deepEqual(read(['--config', config(t, nested)]).values.origins, ['a', 'b']);
});

test('what is empty, or of another kind than it should be, is refused wherever it stands', (t) => {
  for (const [args, environment, file, message] of [
    [['--host='], {}, {}, /^--host '' is empty$/],
    [['--host', ' '], {}, {}, /^--host ' ' is empty$/],
    [['--port='], {}, {}, /^--port '' is empty$/],
    [['--demo='], {}, {}, /^--demo '' is empty$/],
    [['--origins', ' , '], {}, {}, /^--origins ' , ' is empty$/],
    [['--host', '--port', '1'], {}, {}, /^--host needs a value$/],
    [[], { TIDINGS_ADMIN_TOKEN: '' }, {}, /^TIDINGS_ADMIN_TOKEN '' is empty$/],
    [[], { TIDINGS_DEMO: '' }, {}, /^TIDINGS_DEMO '' is empty$/],
    [[], {}, { host: '' }, /"host" '' is empty$/],
    [[], {}, { host: true }, /"host" must be a string or a number$/],
    [[], {}, { host: null }, /"host" must be a string or a number$/],
    [[], {}, { adminToken: 12345678901234567890n }, /"adminToken" must be a string or a number$/],
    [[], {}, '{"port": 1e999}', /"port" must be a string or a number$/],
    [[], {}, { port: 80.5 }, /"port" '80.5' must be a whole number from 0 to 65535$/],
    [[], {}, { demo: 1 }, /"demo" must be true or false$/],
    [[], {}, { origins: [['a']] }, /"origins" must be a string, or a list of strings$/],
    [[], {}, { origins: ['a', ''] }, /"origins" 'a ' is empty$/],
  ] as [string[], Record<string, string>, unknown, RegExp][]) {
    const json = JSON.stringify(file, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
    const path = config(t, typeof file === 'string' ? file : json.replace(/"(\d+)n"/, '$1'));
    assert.throws(() => read([...args, '--config', path], environment), { name: 'UsageError', message });
  }
});

test('an environment variable that there is not is refused; those of Kubernetes for a Service are passed over', () => {
  assert.throws(() => read([], { TIDINGS_ORIGIN: 'x' }), {
    message: 'unknown environment variable TIDINGS_ORIGIN; did you mean TIDINGS_ORIGINS?',
  });
  assert.throws(() => read([], { TIDINGS_PORT: 'tcp' }), /must be a whole number/);
  const { values } = read([], {
    TIDINGS_SERVICE_HOST: '10.0.0.1',
    TIDINGS_SERVICE_PORT: '8080',
    TIDINGS_SERVICE_PORT_HTTP: '8080',
    TIDINGS_PORT: 'tcp://10.0.0.1:8080',
    TIDINGS_PORT_8080_TCP: 'tcp://10.0.0.1:8080',
    TIDINGS_PORT_8080_TCP_ADDR: '10.0.0.1',
    TIDINGS_ADMIN_SERVICE_PORT: '9000',
    HOME: '/',
  });
  assert.equal(values.port, 8080);
});

test('a message shows no secret, not even that of a file that is not JSON', (t) => {
  const own = { token: secret(integer('N', '', { min: 0, max: 1, fallback: 0 })) };
  assert.throws(() => readSettings(own, ['--token', 's3cret'], new Set(['token']), {}), {
    message: '--token must be a whole number from 0 to 1',
  });
  for (const text of [
    '{"adminToken": "s3cret" "port": 1}',
    '{"adminToken": "s3cret',
    's3cret',
    '{"adminToken": "s3cret"}}',
  ]) {
    assert.throws(
      () => read(['--config', config(t, text)]),
      (error: Error) => /is not JSON/.test(error.message) && !error.message.includes('s3c'),
    );
  }
});

test('a file that a setting names is read with it, once, and is refused where there is nothing in it', (t) => {
  const key = config(t, 'the key');
  const own = { key: file('FILE', ''), keys: fileList('FILE', '') };
  const from = (args: string[], files?: Files) => readSettings(own, args, new Set(), {}, files);
  const { values, files } = from(['--key', key, '--keys', key]);
  assert.deepEqual(values, { key: { name: key, text: 'the key' }, keys: [{ name: key, text: 'the key' }] });
  writeFileSync(key, 'another');
  assert.equal(from(['--key', key], files).values.key?.text, 'the key');
  assert.equal(from(['--key', key], Files.fromCopy(files.copy())).values.key?.text, 'the key');
  assert.equal(from(['--key', key], files.anew()).values.key?.text, 'another');
  for (const [path, message] of [
    ['/nowhere/key', /^--key '\/nowhere\/key' can't be read: ENOENT/],
    [tmpdir(), /can't be read: it is a folder$/],
    [config(t, ' \n'), /is an empty file$/],
  ] as const) {
    assert.throws(() => from(['--key', path]), { name: 'UsageError', message });
  }
  assert.throws(() => from(['--key', '/other'], Files.fromCopy(files.copy())), /can't be read: it is new/);
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
    [['--config', config(t, { host: { a: 1 } })], {}, /"host" must be a string or a number/],
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
  assert.throws(() => from([], { TIDINGS_AT: 'noon' }), /unknown environment variable TIDINGS_AT$/);
  assert.throws(() => from(['--config', config(t, { at: 'noon' })]), /unknown key "at"/);
});

test('one file serves all commands: what several of them read from it is the same to each', () => {
  const meanings = new Map<string, string>();
  for (const { name, options } of commands) {
    for (const [own, option] of Object.entries(options)) {
      const { kind, placeholder, fallback, isOfOneCall } = option;
      const key = sharedKey(own, option);
      if (isOfOneCall) continue;
      // One of a list that another command has.
      if (option.sharedAs !== undefined) continue;
      assert.ok(configKeys.has(key));
      // Of numbers, the placeholder says what they count.
      const meaning = typeof fallback === 'number' ? `${kind} ${placeholder}` : kind;
      assert.equal(meaning, meanings.get(key) ?? meaning, `${name} --${flagName(key)}`);
      meanings.set(key, meaning);
    }
  }
});

test('the token of those who call is one of those that the server has, by one name in the environment and the file', (t) => {
  const top = commands.find(({ name }) => name === 'top')!.options;
  const from = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
    readSettings(top, args, configKeys, environment).values['token'];
  assert.equal(from([], { TIDINGS_ADMIN_TOKEN: 'T' }), 'T');
  assert.equal(from([], { TIDINGS_ADMIN_TOKEN: 'read=R send,control=S plain== ' }), 'plain==');
  assert.equal(from([], { TIDINGS_ADMIN_TOKEN: 'read=R\nsend=S' }), 'R');
  assert.equal(from(['--token', 'read==='], { TIDINGS_ADMIN_TOKEN: 'T' }), 'read===');
  assert.equal(from(['--config', config(t, { adminToken: ['control=C', 'T'] })]), 'T');
  assert.equal(from(['--config', config(t, { adminToken: 'T' })]), 'T');
  for (const args of [
    ['--token', 'two words'],
    ['--config', config(t, { adminToken: ['two words'] })],
  ]) {
    assert.throws(() => from(args), /oken"? must be without spaces$/);
  }
  assert.throws(() => from([], { TIDINGS_TOKEN: 'T' }), /TIDINGS_TOKEN is called TIDINGS_ADMIN_TOKEN now/);
  assert.throws(() => from(['--token', 'A', '--token', 'B']), /--token is given more than once$/);
  assert.throws(() => from([], { TIDINGS_ADMIN_TOKEN: ' ' }), /TIDINGS_ADMIN_TOKEN is empty/);
});

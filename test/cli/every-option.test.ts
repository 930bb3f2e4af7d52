/** Every option of every command, with values that can't be: each is refused, with its name, and nothing is started. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commands, configKeys, main } from '../../src/cli/main.ts';
import {
  environmentName,
  flagName,
  type Option,
  readSettings,
  sharedKey,
  UsageError,
} from '../../src/cli/options.ts';

const options = commands.flatMap(({ name, options }) =>
  Object.entries(options).map(([key, option]) => ({ command: name, all: options, key, option })),
);
const isNumber = ({ fallback }: Option<unknown>): boolean => typeof fallback === 'number';

/** What is wrong with an option wherever it is said, by its flag, the environment or the file. */
function wrongOf(option: Option<unknown>): string[] {
  if (option.kind === 'flag') return ['', ' ', 'yes', 'on', 'maybe', '2', '-1', 'NaN', 'null'];
  if (!isNumber(option)) return ['', ' ', '\t'];
  return [
    '',
    ' ',
    '-1',
    '-0',
    '1.5',
    '1e3',
    '0x10',
    '10ms',
    '5s',
    '1_000',
    '1,000',
    ' 5',
    '٣',
    'NaN',
    'Infinity',
  ].concat(String(2 ** 53), '9'.repeat(400));
}

test('no value of the wrong kind, unit or range is taken, by flag or environment, of any option of any command', () => {
  for (const { command, all, key, option } of options) {
    for (const value of wrongOf(option)) {
      const flag = `--${flagName(key)}`;
      const refuses = (args: string[], environment: NodeJS.ProcessEnv, named: string): void => {
        assert.throws(
          () => readSettings(all, args, configKeys, environment),
          (error: Error) => error instanceof UsageError && error.message.startsWith(named),
          `${command} ${args.join(' ')} ${JSON.stringify(environment)}`,
        );
      };
      refuses([`${flag}=${value}`], {}, flag);
      const variable = environmentName(sharedKey(key, option));
      if (!option.isOfOneCall) refuses([], { [variable]: value }, variable);
    }
  }
});

test('what may be given once is not given twice, and a list does not name the same twice', () => {
  for (const { command, all, key, option } of options) {
    const flag = `--${flagName(key)}`;
    const value =
      option.kind === 'flag' ? 'true' : isNumber(option) ? String(option.fallback) : 'package.json';
    assert.throws(
      () => readSettings(all, [`${flag}=${value}`, `${flag}=${value}`], configKeys, {}),
      (error: Error) =>
        error instanceof UsageError && /given more than once|the same twice|must be /.test(error.message),
      `${command} ${flag}`,
    );
  }
});

test('a flag, variable or key that is misspelled is refused, with the one that is nearest', () => {
  for (const { command, all, key, option } of options) {
    const flag = flagName(key);
    if (flag.length < 4) continue;
    const misspelled = `${flag.slice(0, -2)}${flag.at(-1)}${flag.at(-2)}x`;
    assert.throws(
      () => readSettings(all, [`--${misspelled}`], configKeys, {}),
      /^UsageError: unknown option --\S+; did you mean --/,
      `${command} --${misspelled}`,
    );
    if (option.isOfOneCall) continue;
    assert.throws(
      () => readSettings(all, [], configKeys, { [`${environmentName(sharedKey(key, option))}X`]: '1' }),
      /^UsageError: unknown environment variable \S+; did you mean TIDINGS_/,
    );
  }
});

/** What else is wrong with those that are neither numbers nor words of a list; `any`: any text will do. */
const OF_SERVE: Record<string, string[] | 'any'> = {
  host: 'any',
  path: ['x', '/a b', '/a?b', '/api', '/api/x', '/healthz', '/tidings.js', '/sockjs/socketServer'],
  sockjs: ['x', '/', '/a/', '/a?b', 'OFF', '/socketServer'],
  redis: ['x', 'http://h', 'redis://h:99999', 'redis://h/x'],
  redisPrefix: 'any',
  postgres: ['x', 'http://h', 'redis://h', 'postgres://u:p@ss/w@h/db', 'postgres://u:%@h/db'],
  postgresSchema: ['', 'a.b', 'x'.repeat(49), 'a"b'],
  postgresListen: ['x', 'http://h'],
  instance: ['x'.repeat(300), 'a\u0001b'],
  workers: ['0', '-1', '257', '1.5', 'all', 'AUTO', '2k'],
  secret: ['short', 'x'.repeat(15)],
  jwks: ['x', 'ftp://h/'],
  jwtSecret: ['x'.repeat(31)],
  jwtAlgorithms: ['none', 'HS257'],
  jwtIssuer: 'any',
  jwtAudience: 'any',
  jwtType: 'any',
  jwtUser: 'any',
  jwtLogin: 'any',
  jwtTopics: 'any',
  jwtCookie: ['a b', 'a;b', 'a=b'],
  authUrl: ['x', 'ws://h/'],
  authHeaders: ['x-forwarded-for', 'a:b'],
  queryUser: 'any',
  topics: ['user:*', '.', 'x'.repeat(300)],
  presence: ['user:alice', 'inbox'],
  origins: ['x', 'https://a/b', 'https://*.a', '*,https://a'],
  proxies: ['x', '10.0.0.0/33', '::1/129', '1.2.3'],
  adminToken: ['ä', 'read=', 'T T', 'two words'],
  adminPort: ['x', '65536', '-1', '1.5'],
  adminHost: 'any',
  policyPort: ['x', '65536', '-1', '1.5', 'OFF'],
  policyAllow: ['x', 'a:b:', 'a:99999', 'a:1-', 'a:80 b:80'],
  source: [
    'x',
    'http://h/',
    'postgres://u:se/cret@h/d',
    'mysql://h/',
    'mysql://h/d?tabel=x',
    'postgres://h/d?poll=0',
  ],
  limit: [
    'x',
    'x=1',
    'message',
    'message=',
    'message=0',
    'message=-1',
    'message=1k',
    'message=1=2',
    'message=1,message=2',
  ],
};
/** What has to be there for an option to mean something. */
const BESIDE: Record<string, string[]> = {
  redisPrefix: ['--redis=redis://127.0.0.1:1'],
  postgresSchema: ['--postgres=postgres://127.0.0.1:1/x'],
  postgresListen: ['--postgres=postgres://127.0.0.1:1/x'],
  jwtAlgorithms: [`--jwt-secret=${'x'.repeat(32)}`],
  jwtCookie: [`--jwt-secret=${'x'.repeat(32)}`],
  authHeaders: ['--auth-url=http://127.0.0.1:1/'],
};

async function refusal(args: string[]): Promise<{ status: number | string; said: string }> {
  const lines: unknown[][] = [];
  const { error } = console;
  console.error = (...line) => lines.push(line);
  let patience: NodeJS.Timeout | undefined;
  try {
    // Only what is not refused takes that long: the first of these loads the whole server, on a machine that may be slow.
    const running = new Promise<string>((resolve) => {
      patience = setTimeout(resolve, 60_000, 'it runs');
    });
    return { status: await Promise.race([main(args, {}), running]), said: lines.join('\n') };
  } finally {
    clearTimeout(patience);
    console.error = error;
  }
}

test('serve refuses each value that makes no sense, with status 2 and the name of the option', async () => {
  const serve = commands.find(({ name }) => name === 'serve')!;
  for (const [key, option] of Object.entries(serve.options)) {
    const isWord = option.placeholder.split('|').includes(option.shown) && option.shown !== '';
    if (option.kind === 'flag' || isNumber(option)) continue;
    const isFile = option.placeholder === 'FILE';
    const wrong =
      OF_SERVE[key] ?? (isFile ? ['/nowhere/x', '/tmp', '/dev/null'] : isWord ? ['x'] : undefined);
    assert.ok(wrong !== undefined, `what is wrong for --${flagName(key)}?`);
    if (wrong === 'any') continue;
    for (const value of wrong) {
      const { status, said } = await refusal([
        'serve',
        ...['--port=0', '--policy-port=off', '--query-user=u'].filter(
          (arg) => !arg.startsWith(`--${flagName(key)}=`),
        ),
        ...(BESIDE[key] ?? []),
        `--${flagName(key)}=${value}`,
      ]);
      assert.equal(status, 2, `--${flagName(key)}=${value}: ${said}`);
      assert.match(said, new RegExp(flagName(key).split('-')[0]!), `--${flagName(key)}=${value}`);
    }
  }
});

test('what contradicts itself, or has no effect, is refused', async () => {
  for (const [args, message] of [
    [['--port=8123', '--policy-port=8123'], /--port and --policy-port can't be the same, 8123/],
    [['--path=/x', '--sockjs=/x'], /can't be the same place/],
    [['--path=/x/websocket', '--sockjs=/x'], /can't be the same place/],
    [['--workers=2'], /--workers need a store that they share: give --redis or --postgres, too/],
    [['--redis=redis://h', '--postgres=postgres://h'], /give one of --redis and --postgres/],
    [['--postgres-schema=x'], /--postgres-schema is for PostgreSQL: give --postgres, too/],
    [['--watch'], /--watch has nothing to look at/],
    [['--admin-port=8123', '--policy-port=8123'], /--admin-port and --policy-port can't be the same/],
    [['--redis-prefix=x'], /--redis-prefix is for Redis: give --redis, too/],
    [['--show-presence'], /--show-presence is for .*--presence/],
    [['--recheck=5'], /--recheck is for .*--auth-url/],
    [['--auth-timeout=5'], /--auth-timeout is for .*--auth-url/],
    [['--jwt-user=email'], /--jwt-user is for tokens/],
    [['--jwks=http://h/', `--jwt-secret=${'x'.repeat(32)}`], /give one of --jwks/],
  ] as [string[], RegExp][]) {
    const { status, said } = await refusal([
      'serve',
      ...(args.some((arg) => arg.startsWith('--port')) ? [] : ['--port=0']),
      ...args,
    ]);
    assert.equal(status, 2, said);
    assert.match(said, message);
  }
});

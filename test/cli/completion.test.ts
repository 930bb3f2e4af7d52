/** What `tidings completion` prints, run by the shells that it is for. */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { commands, main } from '../../src/cli/main.ts';
import { flagName } from '../../src/cli/options.ts';
import { needs } from '../support/programs.ts';

const run = promisify(execFile);
let folder: string;
const fileOf = (shell: string): string => join(folder, `_tidings.${shell}`);

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidings-completion-'));
  const { log } = console;
  for (const shell of ['bash', 'zsh', 'fish']) {
    const lines: unknown[] = [];
    console.log = (line) => lines.push(line);
    assert.equal(await main(['completion', shell], {}), 0);
    console.log = log;
    writeFileSync(fileOf(shell), `${lines.join('\n')}\n`);
  }
  for (const name of ['keys.pem', 'a folder']) {
    if (name === 'a folder') spawnSync('mkdir', [join(folder, name)]);
    else writeFileSync(join(folder, name), '');
  }
});
after(() => rmSync(folder, { recursive: true }));

const names = [...commands.map(({ name }) => name), 'help'];
const flagsOf = (name: string): string[] => {
  const { options } = commands.find((command) => command.name === name)!;
  return [...Object.keys(options).map((key) => `--${flagName(key)}`), '--config', '--help'];
};

/** What is typed, its last word to be completed, and what there is then. */
const CASES: [typed: string, expected: string[]][] = [
  ['se', ['serve', 'send']],
  ['bl', ['block']],
  ['top --i', ['--interval']],
  ['check --sh', ['--short']],
  ['help unb', ['unblock']],
  ['completion ', ['bash', 'zsh', 'fish']],
  ['serve --log-format ', ['text', 'json']],
  ['serve --log-level d', ['debug']],
  ['serve --jwt-key key', ['keys.pem']],
  ['serve --port ', []],
  ['send alice --id', ['--idempotency-key']],
  ['nothing --x', []],
];

async function bash(...words: string[]): Promise<string[]> {
  const array = words.map((word) => `'${word}'`).join(' ');
  const script = `source "${fileOf('bash')}"; complete -p tidings >/dev/null || exit 9
    COMP_WORDS=(tidings ${array}); COMP_CWORD=${words.length}; _tidings; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run('bash', ['--norc', '-c', script], { cwd: folder });
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

test('bash completes commands, options and values', needs('bash'), async () => {
  for (const [typed, expected] of CASES) {
    const completions = await bash(...typed.split(' '));
    assert.deepEqual(
      completions,
      expected.filter((each) => each !== 'help'),
      typed,
    );
  }
  assert.deepEqual(await bash(''), [...names, '--help', '--version']);
  // As bash takes a word with = apart.
  assert.deepEqual(await bash('serve', '--log-format', '=', 'j'), ['json']);
  assert.deepEqual(await bash('serve', '--log-format', '='), ['text', 'json']);
  assert.deepEqual(await bash('check', '--outdir', 'a'), ['a folder']);
  for (const { name } of commands) assert.deepEqual(await bash(name, '--'), flagsOf(name), name);
});

test('bash has nothing to say against the script', needs('bash'), async () => {
  await run('bash', ['-n', fileOf('bash')]);
  const { stdout } = await run('bash', ['--norc', '-u', '-e', '-c', `source "${fileOf('bash')}"; echo well`]);
  assert.equal(stdout, 'well\n');
});

test('fish completes commands, options and values', needs('fish'), async () => {
  const complete = async (typed: string): Promise<string[]> => {
    const script = `source ${fileOf('fish')}; complete -C 'tidings ${typed}'`;
    const { stdout, stderr } = await run('fish', ['--no-config', '-c', script], { cwd: folder });
    assert.equal(stderr, '');
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t')[0]!);
  };
  for (const [typed, expected] of CASES)
    assert.deepEqual((await complete(typed)).sort(), [...expected].sort(), typed);
  assert.deepEqual((await complete('')).sort(), [...names].sort());
  assert.deepEqual((await complete('serve --')).sort(), flagsOf('serve').sort());
});

test('zsh completes commands, options and values', needs('zsh'), async () => {
  // Typed in a terminal of its own: what stands in the line when it is completed is what is printed.
  const typed = CASES.filter(([, expected]) => expected.length === 1 && expected[0] !== 'keys.pem');
  const script = `
    zmodload zsh/zpty
    zpty shell 'TERM=xterm zsh -f -i'
    zpty -w shell 'cd ${folder}; PS1=""; autoload -U compinit; compinit -u -D; source ${fileOf('zsh')}; tidings() { print -r -- "ran: $*" }; print -r -- rea""dy'
    zpty -r shell line '*ready*'
    ${typed.map(([text]) => `zpty -n -w shell $'tidings ${text}\\t\\n'; zpty -r shell line $'*ran: *\\n*'; print -r -- "$line"`).join('\n')}
    zpty -d shell`;
  const { stdout } = await run('zsh', ['-f', '-c', script], { cwd: folder, timeout: 60_000 });
  const ran = [...stdout.matchAll(/ran: (.*?)\s*$/gm)].map(([, line]) => line!.trim());
  assert.deepEqual(
    ran,
    typed.map(([text, [word]]) => [...text.split(' ').slice(0, -1), word].join(' ')),
  );
});

test('a shell that there is not, or none, is wrong usage', async () => {
  const { error } = console;
  const said: unknown[] = [];
  console.error = (line) => said.push(line);
  assert.equal(await main(['completion'], {}), 2);
  assert.equal(await main(['completion', 'powershell'], {}), 2);
  console.error = error;
  assert.match(String(said[0]), /give one of bash, zsh, fish/);
});

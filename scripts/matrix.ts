/**
 * `npm run matrix [-- VERSION …]`: the build and the tests of what rests on Node itself, on every major version that
 * we serve (or on those given) but the one that runs this, as `npm test` has it. npm brings them; one that can't be
 * had fails the run.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';

const VERSIONS = ['20', '22', '24', '26'];
/** Protocol, sockets, HTTP and the package; what else there is runs on top of these. */
const TESTS = ['protocol', 'server', 'ws', 'sockjs'].map((folder) => `test/${folder}/`);

const { positionals } = parseArgs({ allowPositionals: true });
const own = process.versions.node.split('.')[0]!;
const versions = positionals.length > 0 ? positionals : VERSIONS.filter((version) => version !== own);
const npx = process.platform === 'win32' ? 'npx.cmd' : 'npx';

/** Runs node of that version with `args`. Its own child processes find the same one. */
function node(version: string, args: string[], stdio: 'inherit' | 'pipe' = 'inherit') {
  const command = ['--yes', '--package', `node@${version}`, '--', 'node', ...args];
  return spawnSync(npx, command, {
    stdio,
    encoding: 'utf8',
    env: { ...process.env, NODE_V8_COVERAGE: undefined },
  });
}

/** @returns what is wrong; undefined if nothing is */
function check(version: string): string | undefined {
  const { status, stdout, stderr } = node(version, ['--print', 'process.versions.node'], 'pipe');
  const actual = stdout?.trim() ?? '';
  if (status !== 0) return `can't be had from npm:\n${stderr}`;
  if (actual.split('.')[0] !== version.split('.')[0]) return `npm gave Node ${actual}`;
  console.log(`# Node ${actual}`);
  if (node(version, ['--import', './scripts/typescript.mjs', 'scripts/build.ts']).status !== 0)
    return 'the build fails';
  if (node(version, ['--import', './scripts/typescript.mjs', 'scripts/test.ts', ...TESTS]).status !== 0)
    return 'tests fail';
  return undefined;
}

const results = versions.map((version) => {
  const began = performance.now();
  const wrong = check(version);
  return { version, wrong, seconds: Math.round((performance.now() - began) / 1000) };
});
for (const { version, wrong, seconds } of results) {
  console.log(`Node ${version}: ${wrong ?? 'all is well'} (${seconds} s)`);
}
process.exitCode = results.some(({ wrong }) => wrong !== undefined) ? 1 : 0;

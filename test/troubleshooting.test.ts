/** docs/troubleshooting.md has every code that the source can say, so that who sees one finds it. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as all from '../src/index.ts';
import { CloseCode } from '../src/push/talk/wire.ts';

const page = readFileSync('docs/troubleshooting.md', 'utf8');

/** All of src but what runs in pages, without its comments. */
const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/^(client|check|demo)\//.test(name))
  .map((name) => readFileSync(join('src', name), 'utf8').replace(/\/\*.*?\*\/|^\s*\/\/[^\n]*/gms, ''));
const source = sources.join('\n');

/** The strings of a union of them. */
function union(name: string): string[] {
  const [, body = ''] = new RegExp(`export type ${name} =(.*?);`, 's').exec(source) ?? [];
  const found = [...body.matchAll(/'([^']+)'/g)].map(([, text]) => text!);
  assert.ok(found.length > 1, name);
  return found;
}
const isExplained = (code: string | number): boolean => new RegExp(`^\\|[^|]*\\b${code}\\b`, 'm').test(page);
const missing = (codes: Iterable<string | number>): (string | number)[] =>
  [...new Set(codes)].filter((code) => !isExplained(code));

test('every close code', () => {
  const used = [
    ...source.matchAll(/(?:close|end|fail)\w*\((?:this, )?(1\d{3})\b|closeCode: (\d{4})|, (10\d\d)\)/g),
  ].map(([, a, b, c]) => Number(a ?? b ?? c));
  assert.ok(used.includes(1002));
  assert.deepEqual(missing([...Object.values(CloseCode), ...used.filter((code) => code < 1016)]), []);
});

test('every HTTP status of a handshake', () => {
  const used = [
    ...source.matchAll(
      /(?:refuse|refusal|answer|writeHead|respond)\w*\(\s*([45]\d\d)\b|status: ([45]\d\d)\b/g,
    ),
    ...source.matchAll(/HandshakeError\([^)]*?, ([45]\d\d)\b/g),
  ].map(([, a, b]) => Number(a ?? b));
  assert.ok(used.length > 10, `${used.length}`);
  assert.deepEqual(missing(used), []);
});

test('every reason for a gap, and every code of an error event', () => {
  assert.deepEqual(missing([...union('GapReason'), ...union('ErrorCode')]), []);
});

test('every error of a program, by its class and by its code', () => {
  const classes = Object.keys(all).filter((name) => name.endsWith('Error'));
  const codes = [...source.matchAll(/code(?: =|:) '([A-Z]+(?:_[A-Z]+)+)'/g)].map(([, code]) => code!);
  assert.ok(classes.length > 4 && codes.includes('CONFIRM_TIMEOUT'));
  const ours = codes.filter((code) => !/^(ABORT_ERR|E[A-Z]+_?)/.test(code));
  assert.deepEqual(
    missing([
      ...classes,
      ...ours,
      ...union('RedisErrorCode'),
      ...union('PostgresErrorCode'),
      ...union('TicketErrorCode'),
    ]),
    [],
  );
});

test('a code that is not there would be missed', () => {
  assert.deepEqual(missing([4599, 'NO_SUCH_CODE']), [4599, 'NO_SUCH_CODE']);
});

/** docs/admin.md is true: it lists every request and every error, and its commands do what it says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { errorAnswers } from '../../src/admin/openapi.ts';
import { adminRoutes } from '../../src/admin/routes.ts';
import { PushServer } from '../../src/push/index.ts';

const page = readFileSync('docs/admin.md', 'utf8');

test('docs/admin.md lists every request with its scope, and no other', async () => {
  const push = new PushServer({});
  const actual = adminRoutes(push, { maxBody: 1 }).map(
    ({ method, path, scope = '' }) =>
      `${method} ${path.replace(/\{(\w+)\}/g, (_, name: string) => name.toUpperCase())} ${scope}`,
  );
  const documented = [...page.matchAll(/^\| `([A-Z]+ \/\S*)` \| (\w*) ?\|/gm)].map(
    ([, request, scope]) => `${request} ${scope}`,
  );
  assert.deepEqual(documented.sort(), actual.sort());
  await push.close();
});

test('it lists every error, with its status', () => {
  const actual = Object.entries(errorAnswers).flatMap(([status, { codes }]) =>
    codes.map((code) => `${status} ${code}`),
  );
  const documented = [...page.matchAll(/^\| (\d{3}) +\| `(\w+)`/gm)].map(
    ([, status, code]) => `${status} ${code}`,
  );
  assert.deepEqual(documented.sort(), actual.sort());
});

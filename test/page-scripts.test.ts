/** What an application serves its pages by: the four scripts, and how a browser is told that it has them already. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type PageScriptName, pageScript, pageScriptNames, pageScripts } from '../src/page-scripts.ts';

async function serve(prefix?: string) {
  const scripts = pageScripts(prefix === undefined ? {} : { prefix });
  const server = createServer((request, response) => {
    if (!scripts(request, response)) response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    fetch(url + path, { method, headers });
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { get, stop };
}

test('each script is served as it is, below the prefix and nowhere else', async (t) => {
  for (const prefix of [undefined, '/js', '/js/']) {
    const { get, stop } = await serve(prefix);
    t.after(stop);
    const folder = prefix === undefined ? '/' : '/js/';
    for (const name of pageScriptNames) {
      const answer = await get(`${folder}${name}?v=1`);
      assert.equal(answer.headers.get('content-type'), 'text/javascript; charset=utf-8');
      assert.equal(answer.headers.get('cache-control'), 'no-cache');
      assert.ok(Buffer.from(await answer.arrayBuffer()).equals(pageScript(name).body), name);
      const head = await get(folder + name, {}, 'HEAD');
      assert.equal(head.headers.get('content-length'), String(pageScript(name).body.length));
      assert.equal(await head.text(), '');
    }
    const post = await get(`${folder}tidings.js`, {}, 'POST');
    assert.deepEqual([post.status, post.headers.get('allow')], [405, 'GET, HEAD']);
    for (const path of [folder, `${folder}tidings.js/`, `/x${folder}tidings.js`, `${folder}constructor`])
      assert.equal((await get(path)).status, 404, path);
  }
});

test('a browser that has it is told so, also where a proxy has made the tag a weak one, or there are several', async (t) => {
  const { get, stop } = await serve();
  t.after(stop);
  const { etag } = pageScript('tidings-core.js');
  const status = async (tags: string): Promise<number> =>
    (await get('/tidings-core.js', { 'If-None-Match': tags })).status;
  for (const tags of [etag, `W/${etag}`, `"other", W/${etag}`, `${etag},"other"`, '*'])
    assert.equal(await status(tags), 304, tags);
  for (const tags of ['', '"other"', etag.slice(1, -1), `"x${etag.slice(1)}`, 'W/"*"'])
    assert.equal(await status(tags), 200, tags);
});

test('a name that is none of the four, or a prefix without a slash, is refused', () => {
  for (const name of ['tidings', 'constructor', '__proto__', '../package.json', undefined])
    assert.throws(() => pageScript(name as PageScriptName), TypeError);
  assert.throws(() => pageScripts({ prefix: 'js' }), TypeError);
});

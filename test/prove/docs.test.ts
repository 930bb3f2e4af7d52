/** What docs/prove.md and docs/guarantees.md say of `tidings prove` is so. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { adapterNames } from '../../src/cli/prove.ts';
import { connectionFaults, faultKinds, processFaults } from '../../src/prove/faults.ts';
import { blocks } from '../support/markdown.ts';
import { kept, MARKERS, type Proof, runNames, table } from './peers-table.ts';
import { listening, proven, sample } from './support.ts';

const page = readFileSync('docs/prove.md', 'utf8');

/** What the example says of its server: `GET /poll/USER?after=N`, `POST /send/USER`. */
function pollingServer(keeps: number, isHonest: boolean): Server {
  const log = new Map<string, string[]>();
  const waiting = new Set<() => void>();
  const of = (user: string): string[] => {
    if (!log.has(user)) log.set(user, []);
    return log.get(user)!;
  };
  const poll = async (user: string, after: number, response: ServerResponse): Promise<void> => {
    const messages = of(user);
    if (messages.length <= after) {
      const limit = setTimeout(() => wake(), 500);
      let wake = (): void => {};
      await new Promise<void>((resolve) => {
        wake = resolve;
        waiting.add(resolve);
        response.on('close', resolve);
      });
      clearTimeout(limit);
      waiting.delete(wake);
    }
    const oldest = Math.max(0, messages.length - keeps);
    const body = {
      missing: isHonest && after < oldest,
      messages: messages.slice(Math.max(after, oldest)),
      last: messages.length,
    };
    response.end(JSON.stringify(body));
  };
  const take = async (user: string, request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    of(user).push(text);
    for (const wake of waiting) wake();
    response.writeHead(201).end();
  };
  return createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://host');
    const [, verb, user = ''] = pathname.split('/');
    if (verb === 'poll') void poll(user, Number(searchParams.get('after')), response);
    else void take(user, request, response);
  });
}

test('the adapter of docs/prove.md passes a server that tells what it lacks, and fails one that does not', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tidings-prove-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const [source] = blocks(page).flatMap(([language, text]) => (language === 'js' ? [text] : []));
  const adapter = join(folder, 'mine.mjs');
  writeFileSync(adapter, source!);
  const run = async (isHonest: boolean) => {
    const server = pollingServer(200, isHonest);
    try {
      return await proven({ urls: [await listening(server)], adapter, away: 300, time: 1.5, users: 2 });
    } finally {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    }
  };
  const [good, bad] = await Promise.all([run(true), run(false)]);
  assert.deepEqual(good.failures, []);
  assert.equal(good.adapter, 'polling');
  assert.ok(good.told.messages > 0);
  assert.match(bad.failures.join('; '), /^[\d,]+ lost$/);
});

test('docs/prove.md names every adapter, fault and field of the JSON', () => {
  for (const name of [...adapterNames, ...faultKinds, ...Object.keys(sample)])
    assert.ok(page.includes(`\`${name}\``), name);
  assert.deepEqual(Object.keys({ ...connectionFaults, ...processFaults }), faultKinds);
});

test('the table in docs/guarantees.md is what docs/prove.json makes, and that has the form of what the tool says', () => {
  const proof = JSON.parse(readFileSync('docs/prove.json', 'utf8')) as Proof;
  const [, inside = ''] = readFileSync('docs/guarantees.md', 'utf8').split(MARKERS[0]);
  assert.equal(inside.split(MARKERS[1])[0]!.trim(), table(proof));
  assert.ok(proof.servers.length >= 4);
  const fields = Object.keys(kept(sample)).sort();
  for (const { name, adapter, runs } of proof.servers) {
    assert.deepEqual(Object.keys(runs), [...runNames]);
    for (const run of runNames) {
      // JSON has no undefined.
      const has = Object.keys({ recovery: undefined, ...(runs[run] as object) }).sort();
      assert.deepEqual(has, fields, `${name}: npm run prove -- --write`);
      assert.equal(runs[run].adapter, adapter);
    }
  }
});

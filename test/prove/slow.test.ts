/** Servers that are slow, or fall silent: what is late is not lost, and no run waits for ever. */
import assert from 'node:assert/strict';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { describe, test } from 'node:test';
import type { ProveSettings, Result } from '../../src/prove/index.ts';
import { listening, proven } from './support.ts';

async function withServer(server: Server, settings: Partial<ProveSettings>): Promise<Result> {
  try {
    return await proven({ urls: [await listening(server)], adapter: 'sse', time: 1, ...settings });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

interface Slowness {
  /** Milliseconds between two times at which it hands on what it has accepted. */
  handsOnAfter?: number;
  /** Milliseconds from a request to its answer. */
  answersAfter?: number;
  /** Later ones get no answer. */
  acceptsOnly?: number;
}

/** With all of its messages in a log, from which a page that comes back gets what it lacks. */
function slowServer({ handsOnAfter = 0, answersAfter = 0, acceptsOnly = 1e9 }: Slowness): Server {
  const pages = new Map<string, Set<ServerResponse>>();
  const log = new Map<string, string[]>();
  let accepted = 0;
  const waiting: (() => void)[] = [];
  const handOn = (): void => {
    for (const deliver of waiting.splice(0)) deliver();
  };
  const timer = handsOnAfter > 0 ? setInterval(handOn, handsOnAfter) : undefined;
  const server = createServer(async (request, response) => {
    const [, verb, user = ''] = (request.url ?? '').split('/');
    const mine = pages.get(user) ?? new Set();
    pages.set(user, mine);
    const messages = log.get(user) ?? [];
    log.set(user, messages);
    if (verb === 'events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const from = Number(request.headers['last-event-id'] ?? messages.length);
      for (let i = from; i < messages.length; i++) response.write(`id: ${i + 1}\ndata: ${messages[i]}\n\n`);
      response.flushHeaders();
      mine.add(response);
      response.on('close', () => mine.delete(response));
      return;
    }
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    if (++accepted > acceptsOnly) return;
    const id = messages.push(text);
    waiting.push(() => {
      for (const page of mine) page.write(`id: ${id}\ndata: ${text}\n\n`);
    });
    if (timer === undefined) handOn();
    setTimeout(() => response.writeHead(201).end(), answersAfter).unref();
  });
  server.on('close', () => clearInterval(timer));
  return server;
}

describe('a server', { concurrency: 4, timeout: 120_000 }, () => {
  test('that hands on once in two seconds is late, and loses nothing', async () => {
    const { failures, lost } = await withServer(slowServer({ handsOnAfter: 2000 }), {
      kinds: new Set(['late']),
    });
    assert.deepEqual([failures, lost], [[], 0]);
  });

  test('that takes fewer messages in its time than a page was to miss did not show what it does then', async () => {
    const settings = { time: 0, away: 2000, patience: 2 };
    const { failures } = await withServer(slowServer({ answersAfter: 50 }), settings);
    assert.match(
      failures.join('; '),
      /^a page was away for only \d+ of 2,000 messages, as no more were accepted in time$/,
    );
  });

  test('that delivers and never answers has accepted nothing, also where it is asked again and again', async () => {
    const settings = { settings: { repeats: 'true' }, patience: 2, users: 1 };
    await assert.rejects(
      withServer(slowServer({ answersAfter: 1e6 }), settings),
      /no message was accepted: there is no answer/,
    );
  });

  test('that stops accepting while a page is away does not keep the run for ever', async () => {
    const settings = { settings: { repeats: 'true' }, patience: 2, users: 1, time: 0, away: 300 };
    const { failures } = await withServer(slowServer({ acceptsOnly: 30 }), settings);
    assert.match(
      failures.join('; '),
      /did not come back: .*; a page was away for only \d\d? of 300 messages/,
    );
  });
});

/**
 * Server-sent events with `Last-Event-ID`, as they should be: each user's last messages are kept, a page goes on behind the
 * one that it names, and is told where that can't be. Each of its faults is one that real servers have.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

/**
 * `duplicate`, `reorder`, `lose`, `damage` and `misdeliver`: one message in a thousand; `twice`: all of a stream again when a page comes back, as
 * with a cursor that is one behind; `forget`: what a page missed is not sent; `silent`: what is not kept any more is not told of;
 * `alarm`: every page that comes back is told; `shrink`: the same as `silent` where the log is too short.
 */
export type StreamFault =
  | 'duplicate'
  | 'reorder'
  | 'lose'
  | 'damage'
  | 'misdeliver'
  | 'twice'
  | 'forget'
  | 'silent'
  | 'alarm';

export interface StreamOptions {
  fault?: StreamFault;
  /** Messages that are kept of each user. Default 10,000. */
  keeps?: number;
  /** What there is at the start. Default: nothing. */
  log?: Map<string, string[]>;
  /** Stores a message, which is accepted and delivered when that is done. */
  store?(user: string, text: string): void | Promise<void>;
  /** A message is accepted before it is stored. Default false. */
  isHasty?: boolean;
}

/** Paths: `GET /events/USER`, `POST /send/USER`. */
export function streamServer({
  fault,
  keeps = 10_000,
  log = new Map(),
  store = () => {},
  isHasty = false,
}: StreamOptions = {}): Server {
  const pages = new Map<string, Set<ServerResponse>>();
  const held = new Map<string, { id: number; text: string }>();
  let count = 0;
  const of = (user: string): string[] => {
    if (!log.has(user)) log.set(user, []);
    return log.get(user)!;
  };
  const write = (page: ServerResponse, id: number, text: string): void => {
    page.write(`id: ${id}\ndata: ${text}\n\n`);
  };
  const deliver = (user: string, id: number, text: string): void => {
    for (const page of pages.get(user) ?? []) write(page, id, text);
  };

  function open(user: string, request: IncomingMessage, response: ServerResponse): void {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('retry: 50\n\n');
    const messages = of(user);
    const given = request.headers['last-event-id'];
    const oldest = Math.max(0, messages.length - keeps);
    let from = given === undefined || fault === 'forget' ? messages.length : Number(given);
    if (given !== undefined && fault === 'twice') from = Math.max(0, from - 1);
    if ((from < oldest && fault !== 'silent') || (given !== undefined && fault === 'alarm')) {
      response.write(`event: gap\ndata: messages up to ${oldest} are gone\n\n`);
    }
    for (let i = Math.max(from, oldest); i < messages.length; i++) write(response, i + 1, messages[i]!);
    const mine = pages.get(user) ?? new Set();
    pages.set(user, mine.add(response));
    response.on('close', () => mine.delete(response));
    response.on('error', () => {});
  }

  async function take(user: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    const id = of(user).push(text);
    if (isHasty) response.writeHead(201).end();
    await store(user, text);
    if (!isHasty) response.writeHead(201).end();
    const isBad = ++count % 1000 === 0;
    if (isBad && fault === 'lose') {
      // Not in the log, either: what comes after it has the same numbers as ever.
      of(user)[id - 1] = 'lost';
      return;
    }
    if (isBad && fault === 'reorder') {
      held.set(user, { id, text });
      return;
    }
    if (isBad && fault === 'damage') text = text.replace('.', '!');
    if (isBad && fault === 'misdeliver') {
      for (const other of pages.keys()) if (other !== user) deliver(other, of(other).length, text);
    }
    deliver(user, id, text);
    if (isBad && fault === 'duplicate') deliver(user, id, text);
    const late = held.get(user);
    held.delete(user);
    if (late !== undefined) for (const page of pages.get(user) ?? []) page.write(`data: ${late.text}\n\n`);
  }

  return createServer((request, response) => {
    const [, verb, name = ''] = (request.url ?? '').split(/[/?]/);
    const user = decodeURIComponent(name);
    if (request.method === 'GET' && verb === 'events') open(user, request, response);
    else if (request.method === 'POST' && verb === 'send')
      take(user, request, response).catch(() => response.destroy());
    else response.writeHead(404).end();
  });
}

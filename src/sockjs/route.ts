/** What a transport's file exports, what it is given, and the answers they share. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { arm, disarm, type Expirable } from '../server/deadlines.ts';
import { GatheredBytes } from '../server/gathered-bytes.ts';
import { asError } from '../server/handler-calls.ts';
import { bodyOf, cut } from '../server/http2-stream.ts';
import { within } from '../waiting.ts';
import { parse } from './frames.ts';
import type { Wrapping } from './http-receiver.ts';
import type { RemoteSession } from './neighbours.ts';
import type { SockJsSession } from './session.ts';

/** One HTTP request below `/<server>/<session>/`. CORS, cookie and caching headers are set already. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  query: URLSearchParams;
  /** The session's id, chosen by the client. */
  id: string;
}

/** The part of the server that transports use. */
export interface Sessions {
  /** Makes the response the session's receiver, opening the session if there is none of this id. */
  receive(exchange: Exchange, wrapping: Wrapping): void;
  /** An open session, for what was sent to it by whom it belongs to. */
  find(exchange: Exchange): SockJsSession | undefined | Promise<SockJsSession | undefined>;
  /** The same, of another instance. */
  elsewhere(exchange: Exchange): Promise<RemoteSession | undefined>;
  /** Bytes of frames in one streaming response. */
  readonly responseLimit: number;
  /** Bytes of one message, as the application gets it. */
  readonly maxMessage: number;
}

export interface Route {
  method: 'GET' | 'POST';
  run(exchange: Exchange, sessions: Sessions): void | Promise<void>;
}

export const JAVASCRIPT = 'application/javascript; charset=UTF-8';
export const TEXT = 'text/plain; charset=UTF-8';

export const NO_SESSION = 'Not found: no such session.';

export function answer(response: ServerResponse, status: number, text: string, type = TEXT): void {
  response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) });
  response.end(text);
}

/** Something that the application gave us has thrown: its client gets an answer, and the process goes on. */
export function fail(response: ServerResponse, thrown: unknown): void {
  process.emitWarning(asError(thrown));
  if (response.headersSent) cut(bodyOf(response));
  else answer(response, 500, 'Internal error.');
}

/** Milliseconds for a request's body. */
const BODY_TIMEOUT = 30_000;
/** Milliseconds that a client may be kept waiting for the answer: proxies don't wait for ever. */
const LONGEST_ANSWER = 30_000;

/**
 * Milliseconds that the close frame for a body that is too long is ahead of the status, which sockjs-client takes for
 * 1006, or does not see at all. Who has got the frame does not wait for the status.
 */
const AHEAD = 2_000;

/** How the messages stand in a body. */
export interface Form {
  /** Bytes of a body for one of the text in it, at most. */
  readonly factor: number;
  /** Finds the JSON text. */
  decode(body: string): string;
}

/** The JSON text itself. */
export const PLAIN: Form = { factor: 1, decode: (body) => body };

/** Reads the body and gives its messages to the session. */
export async function deliver(
  exchange: Exchange,
  sessions: Sessions,
  { factor, decode }: Form,
  done: () => void,
): Promise<void> {
  const { request, response } = exchange;
  const found = sessions.find(exchange);
  const session = found instanceof Promise ? await found : found;
  const remote = session === undefined ? await sessions.elsewhere(exchange) : undefined;
  // Nothing is kept for a session that isn't there.
  if (remote === undefined && session === undefined) {
    answer(response, 404, NO_SESSION);
    return;
  }
  const limit = longestText(sessions.maxMessage) * factor;
  const body = await readBody(request, limit);
  if (body === undefined) return;
  if (body === 'too long') {
    (session ?? remote)!.tooLong();
    await within(AHEAD, new Promise((resolve) => response.once('close', resolve)));
    response.setHeader('Connection', 'close');
    answer(response, 413, `The body is over the limit of ${limit} bytes.`);
    return;
  }
  const received = parse(decode(body.toString()));
  if ('error' in received) {
    answer(response, 500, received.error);
    return;
  }
  if (session?.readyState === 1) {
    session.traffic.framesIn++;
    session.traffic.bytesIn += body.length;
    const waiting = session.received(received.messages);
    // A client waits with the next for the answer to this.
    if (waiting !== undefined) await within(LONGEST_ANSWER, waiting);
  } else if (!(await remote?.send(received.messages))) {
    answer(response, 404, NO_SESSION);
    return;
  }
  done();
}

/**
 * Bytes of the JSON text of a message, with what is escaped in it: sockjs-client makes two of a quotation mark, and twelve of
 * the four of an emoji. Only control characters take more, which no text has many of. Several messages that are sent
 * together may have as many.
 */
export function longestText(maxMessage: number): number {
  return 3 * maxMessage + 64;
}

/** Undefined where the client went away inside it, or took too long. What follows one that is too long is thrown away. */
function readBody(request: IncomingMessage, limit: number): Promise<Buffer | 'too long' | undefined> {
  return new Promise((resolve) => {
    const body = new GatheredBytes();
    let isTooLong = false;
    const deadline: Expirable = { deadline: null, expire: () => cut(bodyOf(request)) };
    arm(deadline, BODY_TIMEOUT);
    request.on('data', (chunk: Buffer) => {
      isTooLong ||= body.length + chunk.length > limit;
      if (!isTooLong) {
        body.append(chunk);
        return;
      }
      body.clear();
      resolve('too long');
    });
    request.on('end', () => resolve(body.bytes));
    request.on('error', () => {});
    request.on('close', () => {
      disarm(deadline);
      resolve(undefined);
    });
  });
}

/** The callback that `htmlfile` and `jsonp` name in `c` or `callback`; answers 500 and returns undefined where it is bad. */
export function callbackName({ query, response }: Exchange): string | undefined {
  const name = query.get('c') ?? query.get('callback');
  if (!name) answer(response, 500, '"callback" parameter required');
  else if (name.length > 128 || /[^a-zA-Z0-9\-_.]/.test(name)) {
    answer(response, 500, 'invalid "callback" parameter');
  } else return name;
  return undefined;
}

/** What requests to the admin API say, and what errors mean there. */
import type { IncomingMessage } from 'node:http';
import { DamagedChannelError } from '../pubsub/store/broker.ts';
import { UnconfirmedError } from '../pubsub/store/control.ts';
import type { JsonText } from '../push/payload.ts';
import { TooManyFollowersError } from '../push/watch/following.ts';
import { requestTarget } from '../server/request-target.ts';
import { HttpError, readJson } from './json-http.ts';
import { timeIn } from './time.ts';

export function idempotencyKey(request: IncomingMessage): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return undefined;
  if (typeof key === 'string' && /^[\x20-\x7e]{1,255}$/.test(key)) return key;
  throw new HttpError(400, 'bad_idempotency_key', 'an Idempotency-Key is 1 to 255 ASCII characters');
}

/** The trace that a request belongs to (W3C Trace Context), for who sends: what can't be one counts as none there. */
export function traceOf({ headers }: IncomingMessage): { traceparent?: string; tracestate?: string } {
  const { traceparent, tracestate } = headers;
  return {
    ...(typeof traceparent === 'string' && { traceparent }),
    ...(typeof tracestate === 'string' && { tracestate }),
  };
}

/** @throws {HttpError} for a parameter that is none of these, or comes twice */
export function queryOf(request: IncomingMessage, known: readonly string[]): Record<string, string> {
  const found: Record<string, string> = Object.create(null);
  for (const [name, value] of new URLSearchParams(requestTarget(request).query)) {
    if (!known.includes(name)) {
      throw new HttpError(400, 'bad_request', `there is no parameter ${JSON.stringify(name.slice(0, 64))}`);
    }
    if (name in found) throw new HttpError(400, 'bad_request', `${name} is given twice`);
    found[name] = value;
  }
  return found;
}

/** @throws {HttpError} with what it should be, for anything but an object with these fields or some of them */
export async function readRecord(
  request: IncomingMessage,
  maxBody: number,
  known: string[],
  shape: string,
): Promise<Record<string, unknown>> {
  return recordOf(await readJson(request, maxBody), known, shape);
}

/** The same of what was read already. */
export function recordOf({ text }: JsonText, known: string[], shape: string): Record<string, unknown> {
  const body: unknown = JSON.parse(text);
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new HttpError(400, 'bad_request', shape);
  }
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new HttpError(400, 'bad_request', `there is no ${JSON.stringify(unknown)}: ${shape}`);
  return body as Record<string, unknown>;
}

/** Whether there is one: an empty one is none. */
export function hasBody(request: IncomingMessage): boolean {
  const { 'content-length': length = '0', 'transfer-encoding': encoding } = request.headers;
  return length !== '0' || encoding !== undefined;
}

/**
 * For what takes none: who says there which sessions are meant would end others as well.
 *
 * @throws {HttpError} for one that says something
 */
export async function refuseBody(request: IncomingMessage): Promise<void> {
  if (!hasBody(request)) return;
  const { text } = await readJson(request, 1_000);
  if (!/^\{\s*\}$/.test(text))
    throw new HttpError(400, 'bad_request', 'this takes no body: what it is about is in the address');
}

/** Milliseconds since 1970, or what a Date reads: `2026-12-24T18:00:00Z`. @throws {HttpError} for anything else */
export function timeOf(name: string, given: unknown): number {
  const isNumber = typeof given === 'number' || (typeof given === 'string' && /^\d+$/.test(given));
  const time = isNumber ? Number(given) : typeof given === 'string' ? timeIn(given) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new HttpError(
    400,
    'bad_request',
    `${name} is milliseconds since 1970, or a time such as 2026-12-24T18:00:00Z`,
  );
}

/** @throws {HttpError} for anything but a whole number */
export function wholeNumber(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new HttpError(400, 'bad_request', `${name} is a whole number`);
  return Number(text);
}

export function isTrue(name: string, text: string): boolean {
  if (text === 'true' || text === 'false') return text === 'true';
  throw new HttpError(400, 'bad_request', `${name} is true or false`);
}

/** A message with its data as pages get them: bytes in base64. */
export function inJson<T extends { data: unknown }>(message: T): object {
  const { data } = message;
  return Buffer.isBuffer(data) ? { ...message, data: data.toString('base64'), encoding: 'base64' } : message;
}

/** Type and range errors are the caller's; whatever else a send fails with is the store's. */
export function asHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  const { message } = error as Error;
  if ((error as { code?: unknown }).code === 'TOO_MANY_SCHEDULED') {
    return new HttpError(429, 'too_many_scheduled', message);
  }
  if (error instanceof TooManyFollowersError) return new HttpError(429, 'too_many_followers', message);
  if (error instanceof TypeError || error instanceof RangeError) {
    return new HttpError(400, 'bad_request', message);
  }
  if (error instanceof UnconfirmedError)
    return new HttpError(503, 'not_confirmed', message, { 'Retry-After': '1' });
  if (error instanceof DamagedChannelError) return new HttpError(500, 'damaged', message);
  return new HttpError(503, 'not_stored', message, { 'Retry-After': '1' });
}

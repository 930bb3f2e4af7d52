/** What an application has answered who a page is, looked at before anything is built on it. */
import type { IncomingHttpHeaders } from 'node:http';
import type { Attributes } from '../../server/transport.ts';
import { isRecord } from '../is-record.ts';
import { type Claims, ClaimsError, claimsOf } from '../pages/claims.ts';

/** Bytes of an answer. */
export const MAX_ANSWER = 64 * 1024;

/** Who a page is, as the application says. */
export interface Known extends Claims {
  /** Of its own, for its handlers. */
  attributes: Record<string, unknown>;
}

/** Why nothing is known of a page just now. */
export interface Problem {
  /** What kind of problem it is, in few words. */
  kind: string;
  /** For the log: nothing that a page has said, and no secret. */
  text: string;
  /** Whether the application is away. Otherwise it is there, and has answered what can't be used. */
  isAway: boolean;
}

export type Answer = { known: Known } | { refused: 401 | 403 } | { problem: Problem };

const GATEWAY_PROBLEMS = [502, 503, 504];
/** What an interceptor says by itself. */
const CLAIMS = ['user', 'login', 'expires', 'topics'];

/** What the head of an answer says already; undefined for what depends on its body. */
export function answerOfHead(status: number, headers: IncomingHttpHeaders): Answer | undefined {
  if (status === 401 || status === 403) return { refused: status };
  if (status >= 300 && status < 400) {
    return unusable('redirect', `it answers ${status}; it has to answer 401 or 403 to whom it doesn't know`);
  }
  if (GATEWAY_PROBLEMS.includes(status)) return { problem: away('status', `it answers ${status}`) };
  if (status !== 200) return unusable('status', `it answers ${status}`);
  const { 'content-type': type = '', 'content-encoding': encoding = 'identity' } = headers;
  const [essence = '', ...parameters] = type.split(';').map((part) => part.trim().toLowerCase());
  const charset = parameters.find((parameter) => parameter.startsWith('charset='));
  const isUtf8 = charset === undefined || /^charset="?utf-?8"?$/.test(charset);
  if (!/^application\/(?:[\w.+-]+\+)?json$/.test(essence) || !isUtf8) {
    return unusable('type', 'its answer is not declared as application/json in UTF-8');
  }
  if (encoding.trim().toLowerCase() !== 'identity') {
    return unusable('type', 'its answer is compressed, which was not asked for');
  }
  if (Number(headers['content-length'] ?? 0) > MAX_ANSWER) return tooLong();
  return undefined;
}

/** What the body of an answer with status 200 says. */
export function answerOfBody(body: Buffer): Answer {
  if (body.length > MAX_ANSWER) return tooLong();
  let said: unknown;
  try {
    said = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // What was in it is told to nobody: it may hold a secret.
    return unusable('json', 'its answer is not JSON in UTF-8');
  }
  if (!isRecord(said)) return unusable('json', 'its answer is no JSON object');
  try {
    return { known: knownOf(said) };
  } catch (error) {
    if (!(error instanceof ClaimsError)) throw error;
    return unusable('claims', `in its answer, ${error.message}`);
  }
}

/** Nothing was answered. */
export function away(kind: string, text: string): Problem {
  return { kind, text, isAway: true };
}

function unusable(kind: string, text: string): { problem: Problem } {
  return { problem: { kind, text, isAway: false } };
}

export function tooLong(): { problem: Problem } {
  return unusable('length', `its answer has more than ${MAX_ANSWER} bytes`);
}

/** `null` is what many languages write for what is not there. @throws {ClaimsError} */
function knownOf(said: Record<string, unknown>): Known {
  const [user, login, expires, topics, own] = [...CLAIMS, 'attributes'].map((name) => claim(said, name));
  const claims = claimsOf({ user, login, expires, topics } as Attributes, Number.POSITIVE_INFINITY);
  if (claims === undefined) throw new ClaimsError('there is no `user`');
  const attributes = own ?? {};
  if (!isRecord(attributes)) throw new ClaimsError('`attributes` is no object');
  // Set on an object, it would not be one of its own.
  Reflect.deleteProperty(attributes, '__proto__');
  const reserved = CLAIMS.find((name) => Object.hasOwn(attributes, name));
  if (reserved !== undefined)
    throw new ClaimsError(`\`attributes\` has ${reserved}, which is said beside it`);
  return { ...claims, attributes };
}

function claim(said: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(said, name) ? (said[name] ?? undefined) : undefined;
}

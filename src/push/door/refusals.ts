/**
 * How those are told who may not come in. A browser shows no script the status of a refused handshake: its page would
 * see 1006, as after any loss, and try again for ever. So pages are let in as far as the door and sent away with a close
 * code that says why, and programs are answered by HTTP.
 */

import { MAX_REASON } from '../../protocol/frame-writer.ts';
import { HandshakeEndError } from '../../server/admission.ts';
import type { Attributes, HandshakeRequest, Interceptor } from '../../server/transport.ts';
import { CloseCode } from '../talk/wire.ts';
import type { RefusalReason } from './handshake-counts.ts';

/**
 * - `auto`: who offers `tidings.1`, and every SockJS session, by a close code; all others by an HTTP status.
 * - `http`, `close`: everybody in the same way.
 */
export type Refusals = 'auto' | 'http' | 'close';

/** @throws {TypeError} for what is none of them */
export function checkRefusals(value: Refusals | undefined): void {
  if (value !== undefined && !['auto', 'http', 'close'].includes(value)) {
    throw new TypeError(`refusals is ${String(value)}, and must be 'auto', 'http' or 'close'`);
  }
}

export interface Refusal {
  code: number;
  reason: string;
}

const refusals = new WeakMap<Attributes, Refusal>();
/** Those that will not be for long, which a page may be told, too. */
const passing = new WeakSet<Response>();

/** As what an answer is counted. */
const reasons = new WeakMap<Response, RefusalReason>();
/** The same of a handshake that was refused. */
const refusedAs = new WeakMap<HandshakeRequest, RefusalReason>();
const BY_STATUS: Readonly<Record<number, RefusalReason>> = {
  400: 'malformed',
  401: 'unauthenticated',
  403: 'forbidden',
  429: 'address',
  500: 'failed',
  503: 'unavailable',
};

/** As what a handshake is counted that has failed; undefined for what was none. */
export function refusalReason(request: HandshakeRequest, error: Error): RefusalReason | undefined {
  if (!(error instanceof HandshakeEndError)) return 'failed';
  switch (error.code) {
    case 'ASKED':
      return undefined;
    case 'TIMEOUT':
      return 'timeout';
    case 'GONE':
      return 'gone';
    case 'CLOSING':
      return 'draining';
    default:
      return refusedAs.get(request) ?? BY_STATUS[error.status] ?? 'other';
  }
}

/** What a transport with these attributes is to be closed with at once. */
export function refusalOf(attributes: Attributes): Refusal | undefined {
  return refusals.get(attributes);
}

/**
 * An HTTP answer that refuses a handshake, in plain text.
 *
 * @param reason as which it is counted, where the status does not say it
 */
export function refusal(
  status: number,
  message: string,
  headers: Record<string, string> = {},
  reason?: RefusalReason,
): Response {
  const type = { 'Content-Type': 'text/plain; charset=utf-8', 'Cache-Control': 'no-store' };
  const answer = new Response(`${message}\n`, { status, headers: { ...type, ...headers } });
  if (reason !== undefined) reasons.set(answer, reason);
  return answer;
}

/** A refusal of whom another attempt may let in. @param seconds after which */
export function tryAgain(message: string, seconds: number): Response {
  const answer = refusal(503, message, { 'Retry-After': String(seconds) });
  passing.add(answer);
  return answer;
}

/**
 * What a page is told in place of a status; undefined for what may be otherwise the next time, and is not worth a
 * connection: there are too many already.
 */
function codeOf(answer: Response): number | undefined {
  if (passing.has(answer)) return CloseCode.TRY_AGAIN;
  const { status } = answer;
  if (status === 401) return CloseCode.NOT_AUTHENTICATED;
  if (status === 400) return CloseCode.MALFORMED;
  return status === 403 ? CloseCode.FORBIDDEN : undefined;
}

/**
 * The same interceptors, for those whose refusals close. Whoever comes after the one that refuses is not asked, and all
 * who were asked are told that the handshake has failed.
 */
export function closingRefusals(
  interceptors: readonly Interceptor[],
  closes: (request: HandshakeRequest) => boolean,
): Interceptor[] {
  /** Which of the interceptors refused, and with what. */
  const refused = new WeakMap<HandshakeRequest, { by: number; error: Error }>();
  const judge = async (
    by: number,
    answer: Response,
    request: HandshakeRequest,
    attributes: Attributes,
  ): Promise<undefined> => {
    const text = await answer.text();
    delete attributes.user;
    refusals.set(attributes, { code: codeOf(answer)!, reason: reasonOf(text) });
    const { status } = answer;
    const message = `An interceptor refused the handshake with ${status}`;
    refused.set(request, { by, error: new HandshakeEndError('REFUSED', message, status) });
  };
  return interceptors.map((interceptor, index) => {
    const check = (
      answer: Response | undefined | void,
      request: HandshakeRequest,
      attributes: Attributes,
    ): Response | undefined | Promise<undefined> => {
      if (!(answer instanceof Response)) return answer ?? undefined;
      const reason = reasons.get(answer);
      if (reason !== undefined) refusedAs.set(request, reason);
      const isClosed = codeOf(answer) !== undefined && closes(request);
      return isClosed ? judge(index, answer, request, attributes) : answer;
    };
    return {
      before(request, attributes) {
        if (refused.has(request)) return undefined;
        const answer = interceptor.before?.(request, attributes);
        if (answer instanceof Promise) return answer.then((given) => check(given, request, attributes));
        return check(answer as Response | undefined, request, attributes);
      },
      after(request, transport, error) {
        const refusal = refused.get(request);
        if (refusal === undefined) interceptor.after?.(request, transport, error);
        else if (index <= refusal.by) interceptor.after?.(request, undefined, refusal.error);
      },
    };
  });
}

/** Its first line, in as many whole characters as have room. */
function reasonOf(text: string): string {
  const line = Buffer.from(text.split('\n', 1)[0]!);
  return new TextDecoder().decode(line.subarray(0, MAX_REASON), { stream: true });
}

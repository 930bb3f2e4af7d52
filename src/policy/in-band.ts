/**
 * Policy requests that arrive on an HTTP port. A player that finds nobody on 843 asks at the port it is
 * about to use; to Node's HTTP parser that is a parse error, reported as `clientError`.
 */

import type { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { clearTimeout, setTimeout } from '../clock.ts';
import { listenFirst } from '../listen-first.ts';
import { EXCHANGE_TIMEOUT } from './exchange.ts';
import { encodePolicyAnswer, isPolicyRequest, POLICY_REQUEST } from './policy-request.ts';

type ParseError = Error & { rawPacket?: Buffer };

/**
 * Answers policy requests on `server`, whole or byte by byte. Every other parse error takes the way that it
 * took before: the application's own `clientError` listeners, or Node's 400.
 *
 * @param policy the file, as `buildPolicyFile` makes it
 * @returns undoes it
 */
export function answerInBand(server: EventEmitter, policy: string): () => void {
  const answer = encodePolicyAnswer(policy);
  /** By connection: how many bytes of the request have come. */
  const progress = new WeakMap<Socket, number>();

  const claims = (error: ParseError, socket: Socket): boolean => {
    const matched = progress.get(socket) ?? 0;
    if (matched === POLICY_REQUEST.length) return true;
    const { rawPacket } = error;
    if (rawPacket === undefined) return false;
    // A parse error later in a connection that began with HTTP is no policy request.
    if (socket.bytesRead !== matched + rawPacket.length) return false;
    const verdict = isPolicyRequest(rawPacket, matched);
    if (verdict === 'other') return false;

    if (matched === 0) {
      const deadline = setTimeout(() => socket.destroy(), EXCHANGE_TIMEOUT);
      socket.once('close', () => clearTimeout(deadline));
    }
    if (verdict === 'complete') {
      progress.set(socket, POLICY_REQUEST.length);
      socket.end(answer);
    } else {
      progress.set(socket, matched + rawPacket.length);
    }
    return true;
  };

  // Not a listener: that would replace Node's own 400 for everybody.
  return listenFirst(
    server,
    (event, [error, socket]) => event === 'clientError' && claims(error as ParseError, socket as Socket),
  );
}

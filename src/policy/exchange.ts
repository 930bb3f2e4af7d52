/** One connection on which a policy request is expected: a request, an answer, the end. */

import type { Socket } from 'node:net';
import { clearTimeout, setTimeout } from '../clock.ts';
import { encodePolicyAnswer, isPolicyRequest, POLICY_REQUEST, UNRECOGNISED } from './policy-request.ts';

/** Milliseconds from a connection's beginning to its end, answered or not. */
export const EXCHANGE_TIMEOUT = 5_000;

/**
 * Answers and ends the connection, whatever is asked. The request is matched as it comes, so no more of it is
 * held than a count.
 *
 * @param first bytes that have been read already
 */
export function serveExchange(socket: Socket, answer: Buffer, timeout: number, first?: Buffer): void {
  // From the beginning, not from the last byte: a client that sends one byte every few seconds is cut as well.
  const deadline = setTimeout(() => socket.destroy(), timeout);
  socket.on('close', () => clearTimeout(deadline));
  socket.on('error', () => {
    // Reset by the peer; 'close' follows.
  });

  let matched = 0;
  let isAnswered = false;
  const finish = (bytes: Buffer): void => {
    isAnswered = true;
    socket.end(bytes);
  };
  // After the answer, reading goes on and discards: closing with bytes unread would reset the connection,
  // and a reset can overtake the answer.
  const receive = (chunk: Buffer): void => {
    if (isAnswered) return;
    const verdict = isPolicyRequest(chunk, matched);
    matched = Math.min(matched + chunk.length, POLICY_REQUEST.length);
    if (verdict !== 'partial') finish(verdict === 'complete' ? answer : UNRECOGNISED);
  };
  socket.on('data', receive);
  socket.on('end', () => {
    if (isAnswered) return;
    if (matched > 0) finish(UNRECOGNISED);
    else socket.end();
  });
  if (first !== undefined) receive(first);
  socket.resume();
}

/**
 * For a listener that looks at the first bytes of a connection and hands it over where they may be a policy
 * request.
 *
 * @param policy the file, as `buildPolicyFile` makes it
 * @returns a function that takes the connection over, or returns false where the bytes are something else
 */
export function policyTakeover(policy: string): (socket: Socket, chunk: Buffer) => boolean {
  const answer = encodePolicyAnswer(policy);
  return (socket, chunk) => {
    if (isPolicyRequest(chunk) === 'other') return false;
    serveExchange(socket, answer, EXCHANGE_TIMEOUT, chunk);
    return true;
  };
}

/** The two messages of the policy exchange: what a Flash player asks, and what it gets. */

/** What a player sends, all 23 bytes of it. */
export const POLICY_REQUEST = Buffer.from('<policy-file-request/>\0', 'latin1');

/** The answer to anything else: "the request can't be recognised". */
export const UNRECOGNISED = Buffer.from('请求无法识别\0', 'utf8');

/**
 * Tells a policy request from other traffic, from the first bytes of a connection on.
 *
 * @param bytes everything that has come so far, or a further piece
 * @param from how many bytes of the request earlier pieces have matched
 * @returns `'complete'` once all 23 bytes are there (what follows them is not looked at), `'partial'` while
 *   they agree so far, `'other'` at the first byte that differs
 */
export function isPolicyRequest(bytes: Uint8Array, from = 0): 'complete' | 'partial' | 'other' {
  const length = Math.min(bytes.length, POLICY_REQUEST.length - from);
  for (let i = 0; i < length; i++) if (bytes[i] !== POLICY_REQUEST[from + i]) return 'other';
  return from + length === POLICY_REQUEST.length ? 'complete' : 'partial';
}

/** A policy file as it goes over the wire: UTF-8, ended by a NUL. */
export function encodePolicyAnswer(xml: string): Buffer {
  return Buffer.from(`${xml}\0`, 'utf8');
}

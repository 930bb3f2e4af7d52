/** Entity tags (RFC 9110 §8.8.3) of what is served whole, and whether a browser has it already. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** @returns with its quotes, as the header wants it */
export function etagOf(body: string | Buffer): string {
  return `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
}

/** Whether the answer is 304. Also by a weak tag, which proxies make of ours where they compress, and in a list (§13.1.2). */
export function isKnown({ headers }: IncomingMessage, etag: string): boolean {
  const tags = headers['if-none-match'];
  return tags !== undefined && (tags === '*' || tags.includes(etag));
}

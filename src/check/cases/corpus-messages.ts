/**
 * The messages that a corpus is sent in, and what they compress to. The same sequences are sent in up to forty
 * cases, and compressing would be most of the runner's work, so that the results are remembered.
 */
import { compressAfter, type DeflateRequest } from '../deflate.ts';
import type { Corpus } from './corpora.ts';

/** Message `i` of those of `length` characters or octets. */
export function messageOf(corpus: Corpus, length: number, i: number): Buffer {
  return corpus.slice((i * length) % corpus.length, length);
}

/** Octets that are remembered at most. */
const memory = 384 * 1024 * 1024;
/** By sequence; the one that was begun first is the first to go. */
const sequences = new Map<string, { messages: (Buffer | undefined)[]; octets: number }>();
let remembered = 0;

/** Message `i`, compressed as on a connection on which all before it were sent. */
export function compressedMessageOf(
  corpus: Corpus,
  length: number,
  i: number,
  request: DeflateRequest,
): Buffer {
  const key = `${corpus.title}, ${length}, ${request.noContextTakeover}, ${request.maxWindowBits}`;
  let sequence = sequences.get(key);
  if (!sequence) {
    sequence = { messages: [], octets: 0 };
    sequences.set(key, sequence);
  }
  const known = sequence.messages[i];
  if (known) return known;
  const before = request.noContextTakeover ? undefined : windowBefore(corpus, i * length, request);
  const message = compressAfter(before, messageOf(corpus, length, i), request);
  sequence.messages[i] = message;
  sequence.octets += message.length;
  remembered += message.length;
  for (const [oldest, { octets }] of sequences) {
    if (remembered <= memory || oldest === key) break;
    sequences.delete(oldest);
    remembered -= octets;
  }
  return message;
}

/** What the window holds when `sent` characters or octets have gone out. */
function windowBefore(corpus: Corpus, sent: number, { maxWindowBits }: DeflateRequest): Buffer {
  const size = 1 << (maxWindowBits || 15);
  // A character is one octet at least, so that this is enough of them.
  const count = Math.min(sent, size);
  return corpus.slice((sent - count) % corpus.length, count).subarray(-size);
}

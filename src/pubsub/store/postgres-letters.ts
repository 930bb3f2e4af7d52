/** How the kind of a message stands in a row and in a bell (sql/log.sql). */
import type { StoredKind } from './broker.ts';

export const LETTERS = { text: 't', json: 'j', binary: 'b', reference: 'r', gone: 'g' } as const;

/** @returns `undefined` for what may be a newer version's */
export function kindOf(letter: string | undefined): StoredKind | undefined {
  return KINDS.get(letter);
}
const KINDS = new Map<string | undefined, StoredKind>(
  (Object.keys(LETTERS) as StoredKind[]).map((kind) => [LETTERS[kind], kind]),
);

/**
 * What of the store's form carries a version, so that instances of several versions can serve the same users, and none of them
 * misreads what it does not know (docs/upgrading.md):
 *
 * - the layout of all keys of a prefix: a number in the hash of the control log, looked at with every renewal of a lease;
 * - a doorbell by its letter, a message in a log by the letter of its kind: one that is not known is refused and told;
 * - fields that are added to either, or to a command of the control log: those that are not known are passed over.
 */

/**
 * The layout that this version reads and writes. A version that changes it in a way that this one would misread counts it up,
 * and writes its number to the store once no instance is there that does not know it.
 */
export const LAYOUT = 1;

/** The store is written by a version of tidings that this one does not know. */
export class NewerStoreError extends Error {
  /** `REDIS_LAYOUT`, `POSTGRES_LAYOUT`. */
  readonly code: string;
  /** That of the store. */
  readonly layout: number;

  constructor({ code, address }: { code: string; address: string }, layout: number) {
    super(
      `what is kept in ${address} is written by a newer tidings, in layout ${layout}; this one knows layout ${LAYOUT}: ` +
        'it reads and delivers nothing before it is upgraded, too',
    );
    this.name = 'NewerStoreError';
    this.code = code;
    this.layout = layout;
  }
}

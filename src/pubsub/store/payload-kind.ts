/**
 * How a payload's bytes are to be read: a string as it is, JSON text, raw bytes, or the key of something
 * that the application's `resolve` turns into data where it is delivered.
 */
export type PayloadKind = 'text' | 'json' | 'binary' | 'reference';

/** All of them, for what comes from elsewhere. */
export const PAYLOAD_KINDS: readonly string[] = [
  'text',
  'json',
  'binary',
  'reference',
] satisfies PayloadKind[];

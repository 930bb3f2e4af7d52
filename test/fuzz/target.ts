/** What a target is, and what all of them need. */
import { readFileSync } from 'node:fs';
import type { Random } from '../../src/prove/random.ts';

export interface Target {
  readonly name: string;
  readonly corpus: readonly Buffer[];
  /** An input from nothing, where that finds more than changing a seed. */
  generate?(random: Random): Buffer;
  /** Throws whatever is not documented to be thrown, or an AssertionError. May change the input. */
  run(input: Buffer, random: Random): void | Promise<void>;
}

export const MAX_INPUT = 4096;

/** One input per line, in hexadecimal; lines with # are for the reader. */
export function corpus(name: string): Buffer[] {
  return readFileSync(new URL(`corpus/${name}.hex`, import.meta.url), 'latin1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => Buffer.from(line, 'hex'));
}

/**
 * The one buffer that sockets are read into, and unmasking in it (RFC 6455 §5.3) by WebAssembly SIMD.
 * simd.wat is the source of the module; where WebAssembly is missing (`node --jitless`), the buffer is
 * ordinary memory and mask.ts does the work.
 */
import { Buffer } from 'node:buffer';
import type { ReadMemory } from './frame-sink.ts';
import { applyMask, WORDS_FROM, wordsOf } from './mask.ts';

// Compiled from simd.wat by `npm run wat`.
// biome-ignore format: one line, replaced by scripts/wat.ts
const MODULE =
  'AGFzbQEAAAABCAFgA39/fwF/AwIBAAUEAQEDAwcTAgZtZW1vcnkCAAZ1bm1hc2sAAArUAQHRAQIDewN/IAL9ESEDIAAgAUFwcWohCAJAA0AgACAIRg0BIAD9AAAAIAP9USEEIAAgBP0LAAAgBSAE/VAhBSAAQRBqIQAMAAsLIAggAUEMcWohCAJAA0AgACAIRg0BIAAoAAAgAnMhBiAAIAY2AAAgByAGciEHIABBBGohAAwACwsgCCABQQNxaiEIAkADQCAAIAhGDQEgAC0AACACQf8BcXMhBiAAIAY6AAAgByAGciEHIAJBCHYhAiAAQQFqIQAMAAsLIAX9ZCAHQYCBgoR4cXIL';

interface Exports {
  memory: { buffer: ArrayBuffer };
  unmask(at: number, length: number, key: number): number;
}

// @types/node does not declare what every Node has.
declare const WebAssembly:
  | {
      Module: new (bytes: Uint8Array) => object;
      Instance: new (module: object) => { exports: unknown };
    }
  | undefined;

const simd =
  typeof WebAssembly === 'undefined'
    ? undefined
    : (new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(MODULE, 'base64'))).exports as Exports);

const SHARED_BYTES = 128 * 1024;
/**
 * Where it begins within its pages. To copy to an address whose last 12 bits are a little more than the source's is
 * ten times slower on some processors (`rep movsb` on AMD's), and from the beginning of one page to the beginning
 * of another is just that. So it begins in the middle of one.
 */
const SHARED_AT = 2048;

/** 128 KiB: a message of 64 KiB fits with its header. What lies in it is valid until the next read of any socket. */
export const sharedBuffer: Buffer = Buffer.from(
  simd ? simd.memory.buffer : new ArrayBuffer(SHARED_AT + SHARED_BYTES),
  SHARED_AT,
  SHARED_BYTES,
);

const sharedWords = wordsOf(sharedBuffer.buffer);

/** `applyMask` for `sharedBuffer`, and for any other bytes as well. Same contract. */
export const unmask: (bytes: Uint8Array, start: number, end: number, key: number) => number =
  simd === undefined ? unmaskByWords : unmaskBySimd(simd.unmask);

function unmaskBySimd(run: Exports['unmask']) {
  return (bytes: Uint8Array, start: number, end: number, key: number): number =>
    bytes === sharedBuffer ? run(SHARED_AT + start, end - start, key) : unmaskByWords(bytes, start, end, key);
}

/** The plain path, where there is no WebAssembly or the bytes lie elsewhere. */
export function unmaskByWords(bytes: Uint8Array, start: number, end: number, key: number): number {
  const words =
    bytes === sharedBuffer ? sharedWords : end - start < WORDS_FROM ? undefined : wordsOf(bytes.buffer);
  return applyMask(bytes, words, start, end, key);
}

/** Views of the shared buffer that were given last: one for each start, modulo VIEWS. */
const VIEWS = 4096;
const views: (Buffer | undefined)[] = new Array(VIEWS).fill(undefined);
const viewStarts = new Int32Array(VIEWS);
const viewEnds = new Int32Array(VIEWS);

/**
 * Messages of like size come to lie at like places, and making a view costs as much as unmasking 100 bytes:
 * the same view is given again, as what it shows is gone with the next read anyway.
 */
function view(bytes: Buffer, start: number, end: number): Buffer {
  if (bytes !== sharedBuffer) return bytes.subarray(start, end);
  const slot = start % VIEWS;
  const known = views[slot];
  if (known !== undefined && viewStarts[slot] === start && viewEnds[slot] === end) return known;
  const made = sharedBuffer.subarray(start, end);
  views[slot] = made;
  viewStarts[slot] = start;
  viewEnds[slot] = end;
  return made;
}

/** For the FrameReaders of connections that are read into `sharedBuffer`. */
export const sharedMemory: ReadMemory = { unmask, view };

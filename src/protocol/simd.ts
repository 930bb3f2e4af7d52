/**
 * Unmasking (RFC 6455 §5.3) by WebAssembly SIMD, in the module's own memory. simd.wat is the source of the module.
 */
import { Buffer } from 'node:buffer';

// Compiled from simd.wat by `npm run wat`.
// biome-ignore format: one line, replaced by scripts/wat.ts
const MODULE =
  'AGFzbQEAAAABCAFgA39/fwF/AwIBAAUEAQEDAwcTAgZtZW1vcnkCAAZ1bm1hc2sAAArUAQHRAQIDewN/IAL9ESEDIAAgAUFwcWohCAJAA0AgACAIRg0BIAD9AAAAIAP9USEEIAAgBP0LAAAgBSAE/VAhBSAAQRBqIQAMAAsLIAggAUEMcWohCAJAA0AgACAIRg0BIAAoAAAgAnMhBiAAIAY2AAAgByAGciEHIABBBGohAAwACwsgCCABQQNxaiEIAkADQCAAIAhGDQEgAC0AACACQf8BcXMhBiAAIAY6AAAgByAGciEHIAJBCHYhAiAAQQFqIQAMAAsLIAX9ZCAHQYCBgoR4cXIL';

export interface Simd {
  /** The module's one memory, of four pages of 64 KiB. */
  memory: { buffer: ArrayBuffer };
  /** `applyMask` for bytes of that memory, `at` counted from its beginning. */
  unmask(at: number, length: number, key: number): number;
}

// @types/node does not declare what every Node has.
declare const WebAssembly:
  | {
      Module: new (bytes: Uint8Array) => object;
      Instance: new (module: object) => { exports: unknown };
    }
  | undefined;

/**
 * @throws {Error} where there is no WebAssembly (`node --jitless`), or no address space for its memory: V8 reserves
 * some 10 GB of it, which `ulimit -v` forbids
 */
export function instantiateSimd(): Simd {
  if (typeof WebAssembly === 'undefined') throw new Error('this Node has no WebAssembly');
  return new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(MODULE, 'base64'))).exports as Simd;
}

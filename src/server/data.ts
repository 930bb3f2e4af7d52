/** What applications give `send`, as bytes. */

/** Whatever ws 8 takes: text, bytes in any shape, and values that say what they are as bytes. */
export type Sendable =
  | string
  | number
  | ArrayBufferView
  | ArrayBufferLike
  | readonly unknown[]
  | { valueOf(): ArrayBufferLike | ArrayBufferView | readonly number[] | string }
  | { [Symbol.toPrimitive](hint: string): string };

/**
 * The bytes, sharing memory where there are any.
 *
 * @throws {TypeError} as Buffer.from does, for what can't be bytes
 */
export function toBytes(data: Sendable): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (typeof data === 'string') return Buffer.from(data);
  // A number is its digits, never a length: Buffer's constructor would hand out memory for it.
  if (typeof data === 'number') return Buffer.from(String(data));
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.from(data as ArrayBuffer);
}

/**
 * Whether it is a Blob or a File: Node's, or one of those that other packages bring, which say so in the same way
 * (jsdom, fetch-blob).
 */
export function isBlob(data: unknown): data is Blob {
  if (typeof data !== 'object' || data === null) return false;
  const {
    arrayBuffer,
    stream,
    type,
    [Symbol.toStringTag]: name,
  } = data as Partial<Blob> & Record<symbol, unknown>;
  return (
    (name === 'Blob' || name === 'File') &&
    typeof arrayBuffer === 'function' &&
    typeof stream === 'function' &&
    typeof type === 'string'
  );
}

/** What is in a Blob. Rejects where it can't be read. */
export async function bytesOf(blob: Blob): Promise<Uint8Array> {
  return toBytes(await blob.arrayBuffer());
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The bytes in an ArrayBuffer of their own. */
export function toArrayBuffer(bytes: Uint8Array): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = bytes;
  if (byteLength === buffer.byteLength && buffer instanceof ArrayBuffer) return buffer;
  return buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer;
}

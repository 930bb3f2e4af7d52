/** What goes into a `WebSocket` and comes out of it, in types that take what was written for those of ws, too. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { asBuffer, toArrayBuffer } from './data.ts';

export const BINARY_TYPES = ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const;
export type BinaryType = (typeof BINARY_TYPES)[number];

/**
 * A message as `'message'` gives it: text is always a Buffer, binary is what `binaryType` says. With the type
 * `blob`, which the types of ws leave out as well, it is a Blob.
 */
export type RawData = Buffer | ArrayBuffer | Buffer[];
/** A message as `MessageEvent` gives it. */
export type Data = string | RawData;

/** A binary message in the shape that its receiver has chosen. */
export function shape(data: Buffer, type: BinaryType): RawData {
  if (type === 'arraybuffer') return toArrayBuffer(data);
  if (type === 'blob') return new Blob([toArrayBuffer(data)]) as unknown as RawData;
  return [asBuffer(data)];
}

/** Certificates as the types of ws have them. */
export type CertMeta = string | string[] | Buffer | Buffer[];

export interface WebSocketEvents {
  /** On a server before `connection`, which only the constructor of a class of the application's is there to hear. */
  open: [];
  message: [data: RawData, isBinary: boolean];
  /** With the option `partial`, in place of `message`: a piece as it came. Text is cut between characters. */
  fragment: [data: Buffer, isBinary: boolean, isLast: boolean];
  ping: [data: Buffer];
  pong: [data: Buffer];
  /** What `send` called `queued` is written. */
  drain: [];
  error: [error: Error];
  close: [code: number, reason: Buffer];
  // Clients only:
  upgrade: [response: IncomingMessage];
  redirect: [url: string, request: ClientRequest];
  'unexpected-response': [request: ClientRequest, response: IncomingMessage];
}

export interface MessageOptions {
  /** Default: true for anything but a string or a number. Given as undefined it is false, as in ws. */
  binary?: boolean | undefined;
  /** Default true, where permessage-deflate was negotiated. */
  compress?: boolean | undefined;
  /** False for a part of a message of which more is to come. Default true. */
  fin?: boolean | undefined;
  /** Without effect: clients mask and servers don't (RFC 6455 §5.1). */
  mask?: boolean | undefined;
}

/** Called without an error once it is written. Its type is a method's, so that `(error: Error) => void` will do, too. */
export type SendCallback = { call(error?: Error): void }['call'];

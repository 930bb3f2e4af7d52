/** What goes into a `WebSocket` and comes out of it, in types that take what was written for those of ws, too. */
import type { ClientRequest, IncomingMessage } from 'node:http';
import { asBuffer, toArrayBuffer } from './data.ts';

export const BINARY_TYPES = ['nodebuffer', 'arraybuffer', 'fragments', 'blob'] as const;
/** The shape in which binary messages come: see `WebSocket.binaryType`. */
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

/** Events of a WebSocket, with the arguments of their listeners. */
export interface WebSocketEvents {
  /** On a server before `connection`, which only the constructor of a class of the application's is there to hear. */
  open: [];
  /** A message came: bytes in the shape of `binaryType`, and text as a Buffer. */
  message: [data: RawData, isBinary: boolean];
  /** With the option `partial`, in place of `message`: a piece as it came. Text is cut between characters. */
  fragment: [data: Buffer, isBinary: boolean, isLast: boolean];
  /** A ping came (RFC 6455 §5.5.2). With `autoPong` it is answered already. */
  ping: [data: Buffer];
  /** A pong came (§5.5.3). */
  pong: [data: Buffer];
  /** What `send` called `queued` is written. */
  drain: [];
  /** The connection failed, or could not be made; `close` follows. */
  error: [error: Error];
  /** It is over. 1005 where the peer named no code, 1006 where no close frame came (§7.1.5). */
  close: [code: number, reason: Buffer];
  // Clients only:
  /** Clients only: the server's answer, before it is looked at. */
  upgrade: [response: IncomingMessage];
  /** Clients only: the server has named another address, and `followRedirects` is on. */
  redirect: [url: string, request: ClientRequest];
  /** Clients only: the answer is not 101. With a listener, what becomes of it is left to that. */
  'unexpected-response': [request: ClientRequest, response: IncomingMessage];
}

/** What `send` takes besides the message. */
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

/**
 * The two ways in which a peer's bytes end a connection: a broken frame (RFC 6455 §7.1.7) and a broken
 * opening handshake (§4).
 */

/**
 * What is wrong, as `error.code`. The names that ws 8 has are ws's, with its messages; the others are for
 * what ws accepts. Errors of zlib keep zlib's own code, `Z_DATA_ERROR` for instance.
 */
export const ProtocolErrorCode = {
  /** A control frame in parts (§5.5). */
  EXPECTED_FIN: 'WS_ERR_EXPECTED_FIN',
  /** A client's frame without a mask (§5.1). */
  EXPECTED_MASK: 'WS_ERR_EXPECTED_MASK',
  /** A close frame with a code that none may carry (§7.4). */
  INVALID_CLOSE_CODE: 'WS_ERR_INVALID_CLOSE_CODE',
  /** A control frame of more than 125 bytes, or a close frame of one byte (§5.5). */
  INVALID_CONTROL_PAYLOAD_LENGTH: 'WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH',
  /** An opcode that is reserved, or not the one that must come here (§5.2, §5.4). */
  INVALID_OPCODE: 'WS_ERR_INVALID_OPCODE',
  /** Text or a close reason that is not UTF-8 (§8.1). */
  INVALID_UTF8: 'WS_ERR_INVALID_UTF8',
  /** A message in more frames than the limit. */
  TOO_MANY_PARTS: 'WS_ERR_TOO_MANY_BUFFERED_PARTS',
  /** A server's frame with a mask (§5.1). */
  UNEXPECTED_MASK: 'WS_ERR_UNEXPECTED_MASK',
  /** RSV1 where no compression was agreed on, or not in a message's first frame (§5.2, RFC 7692 §6). */
  UNEXPECTED_RSV_1: 'WS_ERR_UNEXPECTED_RSV_1',
  /** RSV2 or RSV3, which no extension uses (§5.2). */
  UNEXPECTED_RSV_2_3: 'WS_ERR_UNEXPECTED_RSV_2_3',
  /** A length of more than 2^53 - 1 bytes. */
  UNSUPPORTED_DATA_PAYLOAD_LENGTH: 'WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH',
  /** A message longer than the limit. */
  UNSUPPORTED_MESSAGE_LENGTH: 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH',
  /** Not in ws: a length in a longer form than it needs, or with its top bit set (§5.2). */
  INVALID_PAYLOAD_LENGTH: 'WS_ERR_INVALID_PAYLOAD_LENGTH',
} as const;

/** The peer broke RFC 6455 or RFC 7692, or went over a limit: the connection is to be failed (§7.1.7). */
export class ProtocolError extends RangeError {
  /** Always `ProtocolError`. */
  override readonly name = 'ProtocolError';
  /** One of `ProtocolErrorCode`, or a code of zlib's. */
  readonly code: string;
  /** The close code to send (§7.4.1): 1002, 1007, 1008 or 1009. */
  readonly closeCode: number;
  /** zlib's number, where the code is one of zlib's. */
  declare readonly errno?: number;

  constructor(message: string, code: string, closeCode: number, errno?: number) {
    super(message);
    this.code = code;
    this.closeCode = closeCode;
    if (errno !== undefined) this.errno = errno;
  }
}

/** The opening handshake can't succeed (§4.2.2): answer with `status` and `headers`, then close. */
export class HandshakeError extends Error {
  /** Always `HandshakeError`. */
  override readonly name = 'HandshakeError';
  /** The HTTP status to answer with. On the client, the status that came. */
  readonly status: number;
  /** Header lines that must go with the answer. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(message: string, status: number, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** A frame that breaks §5: 1002. */
export function brokenFrame(what: string, code: string): ProtocolError {
  return new ProtocolError(`Invalid WebSocket frame: ${what}`, code, 1002);
}

/** Text or a close reason that is not UTF-8 (§8.1). */
export function invalidUtf8(): ProtocolError {
  const message = 'Invalid WebSocket frame: invalid UTF-8 sequence';
  return new ProtocolError(message, ProtocolErrorCode.INVALID_UTF8, 1007);
}

/** More than the limit, or than there is memory for. */
export function messageTooLong(): ProtocolError {
  return new ProtocolError('Max payload size exceeded', ProtocolErrorCode.UNSUPPORTED_MESSAGE_LENGTH, 1009);
}

/** Too many parts of one message. */
export function tooManyParts(message: string): ProtocolError {
  return new ProtocolError(message, ProtocolErrorCode.TOO_MANY_PARTS, 1008);
}

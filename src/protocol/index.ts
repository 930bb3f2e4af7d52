/**
 * `tidings/protocol`: RFC 6455 and RFC 7692 without a socket. Bytes in, calls out; calls in, bytes out.
 *
 * ```ts
 * // A server's side, once parseRequest() has judged the request and formatResponse() has answered it:
 * const reader = new FrameReader(
 *   {
 *     onMessage: (data) => socket.write(encodeFrame(FIN | Opcode.TEXT, data)),
 *     onPing: (data) => socket.write(encodeFrame(FIN | Opcode.PONG, data)),
 *     onPong: () => {},
 *     onClose: (code) => {
 *       const payload = encodeClosePayload(code === 1005 ? undefined : code);
 *       socket.end(encodeFrame(FIN | Opcode.CLOSE, payload));
 *     },
 *   },
 *   { role: 'server', maxPayload: 1024 * 1024 },
 * );
 * socket.on('data', (chunk) => reader.read(chunk, 0, chunk.length)); // throws ProtocolError
 * ```
 */
export { type CloseCodeEntry, closeCodes, isValidCloseCode } from './close-codes.ts';
export {
  acceptAnswer,
  acceptOffer,
  createOffer,
  type DeflateOptions,
  type DeflateParameters,
  EXTENSION_NAME,
  formatParameters,
  validateDeflateOptions,
} from './deflate-negotiation.ts';
export { HandshakeError, ProtocolError, ProtocolErrorCode } from './errors.ts';
export {
  type ExtensionOffer,
  type ExtensionParameter,
  formatExtensions,
  parseExtensions,
} from './extension.ts';
export { FrameReader } from './frame-reader.ts';
export type { FrameReaderOptions, FrameSink, MessageInflater, ReadMemory } from './frame-sink.ts';
export {
  encodeClosePayload,
  encodeFrame,
  FIN,
  headerLength,
  MAX_CONTROL_PAYLOAD,
  Opcode,
  RSV1,
  writeHeader,
} from './frame-writer.ts';
export {
  acceptKey,
  asksForWebSocket,
  createRequest,
  formatResponse,
  type HeaderFields,
  type Offered,
  type OpeningRequest,
  type OpeningResponse,
  type ParsedRequest,
  parseRequest,
  parseResponse,
  type RequestParts,
  type ResponseParts,
} from './handshake.ts';
export { applyMask, randomKey, readKey, rotateKey, wordsOf } from './mask.ts';
export { type DeflateDone, MessageDeflate } from './permessage-deflate.ts';
export { advanceUtf8, isValidUtf8, UTF8_INVALID, UTF8_START, type Utf8State } from './utf8.ts';

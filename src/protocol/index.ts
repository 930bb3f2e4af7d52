/**
 * `tidings/protocol`: RFC 6455 and RFC 7692 without a socket. Bytes in, calls out; calls in, bytes out.
 *
 * ```ts
 * // A server's side, once parseRequest() has judged the request and formatResponse() has answered it:
 * const closing = new Closing();
 * const send = (opcode, payload) => socket.write(encodeFrame(FIN | opcode, payload));
 * const close = (payload) => {
 *   if (payload !== undefined) {
 *     send(Opcode.CLOSE, payload);
 *     closing.isSent = true;
 *   }
 *   if (closing.isComplete) socket.end();
 * };
 * const reader = new FrameReader(
 *   {
 *     onMessage: (data) => send(Opcode.TEXT, data),
 *     onPing: (data) => send(Opcode.PONG, data),
 *     onPong: () => {},
 *     onClose: (code, reason) => close(closing.receive(code, reason)),
 *   },
 *   { role: 'server', maxPayload: 1024 * 1024 },
 * );
 * socket.on('data', (chunk) => {
 *   try {
 *     reader.read(chunk, 0, chunk.length);
 *   } catch (error) {
 *     close(closing.fail(error)); // a ProtocolError
 *   }
 * });
 * ```
 *
 * @module tidings/protocol
 */
export { type CloseCodeEntry, closeCodes, isValidCloseCode } from './close-codes.ts';
export { CLOSED, CLOSING, Closing, OPEN } from './closing.ts';
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
export type { FrameReaderOptions, FrameSink, Lender, MessageInflater, ReadMemory } from './frame-sink.ts';
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

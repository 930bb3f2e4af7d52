/**
 * What `node:diagnostics_channel` subscribers are told. The names are public:
 *
 * - `tidings:websocket:open` `{ websocket, request }`
 * - `tidings:websocket:close` `{ websocket, code }`
 * - `tidings:websocket:error` `{ websocket, error }`
 * - `tidings:websocket:refused` `{ request, status, error }`
 * - `tidings:memory:plain` `{ error }`, when the package is loaded: without WebAssembly, unmasking is slower
 */
import { channel } from 'node:diagnostics_channel';

export const opened = channel('tidings:websocket:open');
export const closed = channel('tidings:websocket:close');
export const failed = channel('tidings:websocket:error');
export const refused = channel('tidings:websocket:refused');
export const plainMemory = channel('tidings:memory:plain');

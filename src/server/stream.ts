/** A WebSocket as a stream: a Duplex, or an async iterator. */

import { Duplex, type DuplexOptions } from 'node:stream';
import { nextTick } from '../clock.ts';
import { asBuffer } from './data.ts';
import type { RawData, WebSocket } from './websocket.ts';

/** Text as a string, binary as bytes. */
export type IteratedMessage = string | Buffer;

/**
 * A Duplex over the connection: each chunk written is a binary message, and what comes is read as bytes, or
 * with `readableObjectMode` as one chunk per message. Backpressure works in both directions.
 */
export function createWebSocketStream(websocket: WebSocket, options: DuplexOptions = {}): Duplex {
  let terminates = true;
  const whenOpen = (run: () => void): void => {
    if (websocket.readyState === websocket.CONNECTING) websocket.once('open', run);
    else run();
  };
  const emitClose = (): void => {
    duplex.emit('close');
  };

  const duplex: Duplex = new Duplex({
    ...options,
    // Both ends have to be waited for: see the listeners of `end` and `close` below.
    autoDestroy: false,
    emitClose: false,
    objectMode: false,
    writableObjectMode: false,

    read() {
      if (websocket.isPaused) websocket.resume();
    },

    write(chunk, _encoding, callback) {
      whenOpen(() => websocket.send(chunk as Buffer, callback));
    },

    final(callback) {
      whenOpen(() => {
        const socket = websocket._socket;
        // The handshake has failed: `error` will end it.
        if (socket === null) return;
        if (socket.writableFinished) {
          callback();
          if (duplex.readableEnded) duplex.destroy();
        } else {
          socket.once('finish', () => callback());
          websocket.close();
        }
      });
    },

    destroy(error, callback) {
      if (websocket.readyState === websocket.CLOSED) {
        callback(error);
        nextTick(emitClose);
        return;
      }
      let isTold = false;
      websocket.once('error', (failure) => {
        isTold = true;
        callback(failure);
      });
      websocket.once('close', () => {
        if (!isTold) callback(error);
        nextTick(emitClose);
      });
      if (terminates) websocket.terminate();
    },
  });

  websocket.on('message', (data, isBinary) => {
    const chunk = !isBinary && duplex.readableObjectMode ? String(data) : data;
    if (!duplex.push(chunk)) websocket.pause();
  });
  websocket.once('error', (error) => {
    if (duplex.destroyed) return;
    // The close frame that says why is on its way.
    terminates = false;
    duplex.destroy(error);
  });
  websocket.once('close', () => {
    if (!duplex.destroyed) duplex.push(null);
  });
  duplex.on('end', () => {
    if (!duplex.destroyed && duplex.writableFinished) duplex.destroy();
  });
  const onError = (error: Error): void => {
    duplex.removeListener('error', onError);
    duplex.destroy();
    // Without a listener of the application's it is thrown, as any stream's error.
    if (duplex.listenerCount('error') === 0) duplex.emit('error', error);
  };
  duplex.on('error', onError);
  return duplex;
}

/** Messages that may wait for the loop before the connection is paused. */
const HIGH_WATER_MARK = 16;

export function iterateMessages(websocket: WebSocket): AsyncIterableIterator<IteratedMessage> {
  const messages: IteratedMessage[] = [];
  let waiting:
    | { resolve: (result: IteratorResult<IteratedMessage>) => void; reject: (error: Error) => void }
    | undefined;
  let failure: Error | undefined;
  let isOver = websocket.readyState === websocket.CLOSED;

  const onMessage = (data: RawData, isBinary: boolean): void => {
    const message = isBinary ? asBytes(data) : String(data);
    if (waiting !== undefined) {
      waiting.resolve({ value: message, done: false });
      waiting = undefined;
    } else if (messages.push(message) >= HIGH_WATER_MARK) {
      websocket.pause();
    }
  };
  const onError = (error: Error): void => {
    failure = error;
  };
  const onClose = (): void => {
    isOver = true;
    stop();
    if (waiting === undefined) return;
    if (failure === undefined) {
      waiting.resolve({ value: undefined, done: true });
    } else {
      waiting.reject(failure);
      failure = undefined;
    }
    waiting = undefined;
  };
  const stop = (): void => {
    websocket.removeListener('message', onMessage);
    websocket.removeListener('error', onError);
    websocket.removeListener('close', onClose);
  };
  websocket.on('message', onMessage);
  websocket.on('error', onError);
  websocket.on('close', onClose);

  return {
    next() {
      const message = messages.shift();
      if (message !== undefined) {
        if (websocket.isPaused && messages.length === 0) websocket.resume();
        return Promise.resolve({ value: message, done: false });
      }
      if (failure !== undefined && isOver) {
        const error = failure;
        failure = undefined;
        return Promise.reject(error);
      }
      if (isOver) return Promise.resolve({ value: undefined, done: true });
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject };
      });
    },
    return() {
      stop();
      isOver = true;
      messages.length = 0;
      websocket.resume();
      websocket.close();
      return Promise.resolve({ value: undefined, done: true });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

function asBytes(data: RawData): Buffer {
  if (data instanceof ArrayBuffer) return Buffer.from(data);
  if (Array.isArray(data)) return Buffer.concat(data);
  if (data instanceof Blob) throw new TypeError("binaryType 'blob' can't be iterated over");
  return asBuffer(data);
}

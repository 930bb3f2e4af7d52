/** A WebSocket as a Duplex. */

import { Duplex, type DuplexOptions } from 'node:stream';
import { nextTick } from '../clock.ts';
import type { WebSocket } from './websocket.ts';

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

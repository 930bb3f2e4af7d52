/** The codec of ws, which it exports and its types leave out. */
import type { EventEmitter } from 'node:events';
import * as ws from 'ws';

interface WsCodec {
  Receiver: new (options: {
    isServer: boolean;
    maxPayload: number;
  }) => EventEmitter & { write(chunk: Buffer): boolean };
  Sender: {
    frame(
      data: Buffer,
      options: { fin: boolean; rsv1: boolean; opcode: number; mask: boolean; readOnly: boolean },
    ): Buffer[];
  };
}

export const { Receiver, Sender } = ws as unknown as WsCodec;

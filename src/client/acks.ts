/** The acknowledgement of the inbox on its way: gathered for a moment, the newest only, and said again after a reconnect. */
import type { WirePosition } from '../push/talk/wire.ts';

export type Acks = ReturnType<typeof createAcks>;

/** @param due called while there is a connection: `take` has something */
export function createAcks(delay: number, due: () => void) {
  /** What was sent may have been lost with its connection. */
  let newest: WirePosition | undefined;
  let isUnsent = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  return {
    add(position: WirePosition, isConnected: boolean): void {
      if (newest?.epoch === position.epoch && newest.offset >= position.offset) return;
      newest = position;
      isUnsent = true;
      if (isConnected) timer ??= setTimeout(due, delay);
    },

    /** What is to be said now, if anything. Where the connection is gone: nothing is, for now. */
    take(): WirePosition | undefined {
      clearTimeout(timer);
      timer = undefined;
      const was = isUnsent;
      isUnsent = false;
      return was ? newest : undefined;
    },

    /** There is a connection again. */
    again(): void {
      isUnsent = true;
      due();
    },

    /** What was to be acknowledged is of a log that is gone, or another user's. */
    clear(): void {
      newest = undefined;
    },
  };
}

/**
 * What the page sends, no faster than the server takes it. A server counts frames by the second (100, as long as it was
 * not told otherwise), and closes with 4429 on who goes on above it.
 */
import { CloseCode } from '../push/talk/wire.ts';
import type { Talk, Turn } from './talk.ts';

/** Frames that may go within a second that begins with one of them: less than 100 within any second. */
const PACE = 45;
const SECOND = 1_000;

export function addPace({ add, says, connection }: Talk): void {
  let queue: Turn[] = [];
  let next = 0;
  let pace = PACE;
  let room = PACE;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const go = (): void => {
    // Sending can end the connection, and with it what waits.
    while (next < queue.length && room > 0) says.now(queue[next++]!());
    if (next < queue.length) return;
    queue = [];
    next = 0;
  };

  says.now = (text) => {
    if (!text) return;
    room--;
    timer ??= setTimeout(() => {
      timer = undefined;
      room = pace;
      go();
    }, SECOND);
    connection.send(text);
  };
  says.inTurn = (turn, isNext) => {
    queue.splice(isNext ? next : queue.length, 0, turn);
    go();
  };

  add({
    lost(code) {
      clearTimeout(timer);
      timer = undefined;
      queue = [];
      next = 0;
      // It was too fast for this server.
      if (code === CloseCode.RATE_LIMIT) pace = Math.ceil(pace / 2);
      room = pace;
    },
  });
}

/** How ws and tidings answer an echo, where that is not at once and with what came in. */
import { store } from '../stored.ts';
import type { PeerOptions } from './peer-options.ts';
import { wrong } from './wrong.ts';

interface Sender {
  send(data: Buffer, options: { binary: boolean }, callback?: (error?: Error | null) => void): unknown;
}

/** @param data the receiver's to keep */
export type Answer = (socket: Sender, data: Buffer, isBinary: boolean) => void;

export function answerer({ answers, answerSize }: PeerOptions): Answer {
  if (answers === 'later') return later();
  if (answers === 'callback') return withCallback();
  if (answers === 'stored') {
    const stored = store(answerSize);
    return (socket, data) => void socket.send(stored(data), { binary: true });
  }
  return (socket, data, isBinary) => void socket.send(data, { binary: isBinary });
}

/** What came in together is answered together, when nothing is being read. */
function later(): Answer {
  let waiting: Parameters<Answer>[] = [];
  const flush = () => {
    const due = waiting;
    waiting = [];
    for (const [socket, data, isBinary] of due) socket.send(data, { binary: isBinary });
  };
  return (socket, data, isBinary) => {
    if (waiting.length === 0) setImmediate(flush);
    waiting.push([socket, data, isBinary]);
  };
}

/** Counts the callbacks: at the end there must have been one for each send. */
function withCallback(): Answer {
  let sent = 0;
  let called = 0;
  const callback = (error?: Error | null) => {
    called++;
    if (error) wrong(error);
  };
  process.on('SIGTERM', () => {
    if (sent !== called) wrong(new Error(`${sent} sends and ${called} callbacks`));
  });
  return (socket, data, isBinary) => {
    sent++;
    socket.send(data, { binary: isBinary }, callback);
  };
}

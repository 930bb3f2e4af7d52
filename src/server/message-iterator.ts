/** The messages of a WebSocket as an async iterator. */
import { type EventEmitter, on } from 'node:events';
import { asBuffer } from './data.ts';

/** Text as a string, binary as bytes. */
export type IteratedMessage = string | Buffer;

/** What an iterator needs of a WebSocket. */
export interface MessageSource {
  readonly readyState: number;
  readonly CLOSED: 3;
  pause(): void;
  resume(): void;
  close(): void;
}

/** Messages that may wait for the loop before the connection is paused. */
const HIGH_WATER_MARK = 16;

type Result = IteratorResult<IteratedMessage, undefined>;
type MessageArguments = [data: Buffer | ArrayBuffer | Buffer[] | Blob, isBinary: boolean];

/**
 * Ends with the connection, and closes it when it is left before. Messages that came before an error are
 * handed out before it. Calls of `next` that wait together are answered in their order.
 */
export function iterateMessages(source: MessageSource): AsyncIterableIterator<IteratedMessage, undefined> {
  const events = on(source as unknown as EventEmitter, 'message', {
    close: ['close'],
    highWaterMark: HIGH_WATER_MARK,
    lowWaterMark: 1,
  }) as AsyncIterableIterator<MessageArguments, undefined>;
  const end: Result = { value: undefined, done: true };
  let isLeft = false;
  if (source.readyState === source.CLOSED) void events.return!();

  const leave = async (): Promise<Result> => {
    isLeft = true;
    await events.return!();
    // What keeps it from reading keeps it from the peer's close frame.
    source.resume();
    source.close();
    return end;
  };
  return {
    async next(): Promise<Result> {
      if (isLeft) return end;
      const { value, done } = await events.next();
      return done === true ? end : { value: await contentOf(...value), done: false };
    },
    return: leave,
    async throw(error: unknown): Promise<Result> {
      await leave();
      throw error;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

async function contentOf(...[data, isBinary]: MessageArguments): Promise<IteratedMessage> {
  if (!isBinary) return String(data);
  if (data instanceof Blob) return Buffer.from(await data.arrayBuffer());
  if (data instanceof ArrayBuffer) return Buffer.from(data);
  return Array.isArray(data) ? Buffer.concat(data) : asBuffer(data);
}

/** A hello that is longer than the server takes is cut in half: what it doesn't name is joined by frames of its own. */
import type { Hello } from '../push/talk/wire.ts';
import { NONSENSE, TOO_BIG } from './reconnect.ts';
import type { Talk } from './talk.ts';

export function addLongHello({ add, connection }: Talk): void {
  /** Characters that a hello may have, as far as is known. */
  let limit = Number.POSITIVE_INFINITY;
  let last: Hello | undefined;
  const length = (): number => JSON.stringify(last).length;
  /** False where it can't be made shorter. */
  const shrink = (): boolean => {
    limit = length() / 2;
    return last!.topics!.length > 0;
  };
  add({
    hello(hello) {
      last = hello;
      const { topics = [], positions = {}, states = {} } = hello;
      while (length() > limit && topics.length > 0)
        for (const name of topics.splice(topics.length / 2)) {
          delete positions[name];
          delete states[name];
        }
    },
    welcome() {
      last = undefined;
    },
    refused({ message, channel }) {
      const isHello = channel === undefined && connection.state().name === 'connecting' && shrink();
      if (isHello) connection.lost(NONSENSE, message, 0);
      return isHello;
    },
    lost(code) {
      if (code === TOO_BIG && last) shrink();
    },
  });
}

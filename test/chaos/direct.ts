/** Pages that dial instances themselves: a proxy in this process would need two descriptors for each of them. */
import type { WebSocketConstructor } from '../../src/client/core.ts';
import { WebSocket } from '../../src/ws.ts';

/**
 * A WebSocket that goes to one of these loopback ports in turn, and keeps its URL's port where there is none.
 *
 * @param arrivals gets the moment of each attempt, by `performance.now()`
 */
export function directSocket(ports: () => number[], arrivals: number[]): WebSocketConstructor {
  let turn = 0;
  const target = (text: string): URL => {
    arrivals.push(performance.now());
    const url = new URL(text);
    const running = ports();
    if (running.length > 0) url.port = String(running[turn++ % running.length]);
    return url;
  };
  class DirectSocket extends WebSocket {
    constructor(url: string, protocols?: string[]) {
      super(target(url), protocols);
    }
  }
  return DirectSocket as unknown as WebSocketConstructor;
}

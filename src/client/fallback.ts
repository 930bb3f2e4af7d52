/**
 * A connection that always gets through: WebSocket, and where a proxy breaks it, SockJS by streaming, and
 * where that is held back, by polling. What worked is remembered for a while; then WebSocket has its next turn.
 */
import { CloseCode, SUBPROTOCOL } from '../push/talk/wire.ts';
import { sockJsTransport } from './sockjs-transport.ts';
import { read, type StorageLike, write } from './storage.ts';
import type { Transport, TransportFactory } from './transport.ts';

const KEY = 'transport';
/** Close codes that no server has sent: the way there is broken. */
const BROKEN = [1002, 1005, 1006, 1015];
/** Failures in a row that a WebSocket is forgiven where it has worked before: servers restart. */
const FORGIVEN = 2;

export interface FallbackOptions {
  /** Undefined where there is no WebSocket. */
  webSocket: TransportFactory | undefined;
  /** The SockJS endpoint. Default: `/sockjs` in front of the WebSocket's path. */
  endpoint?: string | undefined;
  storage: StorageLike | undefined;
  /** Milliseconds for each way until something comes from the server. */
  patience: number;
  /** Milliseconds after which a page that fell back looks whether WebSocket works now. */
  retry: number;
}

export function fallbackTransport({
  webSocket,
  endpoint,
  storage,
  patience,
  retry,
}: FallbackOptions): TransportFactory {
  const streaming = sockJsTransport(endpoint, 'xhr_streaming');
  const polling = sockJsTransport(endpoint, 'xhr');
  const ways = webSocket === undefined ? [streaming, polling] : [webSocket, streaming, polling];
  let memory = { way: 0, time: 0 };
  try {
    const { way, time } = JSON.parse(read(storage, KEY) ?? '');
    if (Number.isInteger(way) && Number.isFinite(time)) memory = { way, time };
  } catch {
    // Nothing, or not ours: begin without.
  }

  let misses = 0;
  const remember = (way: number): void => {
    misses = 0;
    memory = { way, time: Date.now() };
    write(storage, KEY, JSON.stringify(memory));
  };

  return (url, protocols, events) => {
    const isPlain = !protocols.includes(SUBPROTOCOL);
    const ping = isPlain ? 'ping' : '{"type":"ping"}';
    // A clock that was set back must not keep a page from WebSocket.
    const isFresh = Math.abs(Date.now() - memory.time) < retry;
    let way = isFresh && ways[memory.way] !== undefined ? memory.way : 0;
    let failures = 0;
    let turn = 0;
    let current: Transport | undefined;
    let probe: Transport | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;

    const stop = (): void => {
      turn++;
      clearTimeout(timer);
      current?.close();
      probe?.close();
    };

    const attempt = (): void => {
      const own = ++turn;
      let hasPassed = false;
      const failed = (code: number, reason: string): void => {
        if (own !== turn) return;
        stop();
        const isForgiven =
          !hasPassed && way === 0 && memory.way === 0 && memory.time > 0 && ++misses <= FORGIVEN;
        if (hasPassed || isForgiven || !BROKEN.includes(code) || ++failures >= ways.length)
          events.close(code, reason);
        else {
          way = (way + 1) % ways.length;
          attempt();
        }
      };
      timer = setTimeout(() => failed(1006, 'nothing came through'), patience);
      try {
        current = ways[way]!(url, protocols, {
          open() {
            if (own !== turn) return;
            // In plain mode a server may have nothing to say: ask it, as opening alone proves nothing.
            if (isPlain) current?.send(ping);
            events.open();
          },
          message(data) {
            if (own !== turn) return;
            if (!hasPassed) {
              hasPassed = true;
              clearTimeout(timer);
              remember(way);
              if (way > 0 && webSocket !== undefined) timer = setTimeout(look, retry);
            }
            events.message(data);
          },
          close: failed,
        });
      } catch (error) {
        queueMicrotask(() => failed(1006, String(error)));
      }
    };

    /** Whether a WebSocket passes data now. If so, the page leaves this way and comes back by that one. */
    const look = (): void => {
      const own = turn;
      probe?.close();
      const works = (): void => {
        if (own !== turn) return;
        remember(0);
        stop();
        events.close(CloseCode.DRAIN, 'WebSocket works again');
      };
      try {
        const tried = webSocket!(url, protocols, {
          open: () => tried.send(ping),
          message: works,
          // The ticket of these protocols is over by now, which a server has said.
          close: (code) => code === CloseCode.NOT_AUTHENTICATED && works(),
        });
        probe = tried;
      } catch {
        // Not now.
      }
      timer = setTimeout(look, retry);
    };

    attempt();
    return {
      send: (text) => current?.send(text),
      get isScarce() {
        return ways[way] !== webSocket;
      },
      close(code, reason) {
        turn++;
        clearTimeout(timer);
        probe?.close();
        current?.close(code, reason);
      },
    };
  };
}

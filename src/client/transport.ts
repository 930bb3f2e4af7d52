/**
 * The seam below the client: something that carries text both ways. WebSocket here; the SockJS transports
 * that stand in for it where a proxy breaks it are files of their own with the same two interfaces.
 */

/** What a transport tells the client. After `close` it says nothing more. */
export interface TransportEvents {
  /** It is connected. */
  open(): void;
  /** A frame came: a string, or bytes. */
  message(data: unknown): void;
  /** It has ended, or could not be made; 1006 where there was no close code. */
  close(code: number, reason: string): void;
}

/** A connection that a `TransportFactory` has begun. */
export interface Transport {
  /** Only after `open`. */
  send(text: string): void;
  /**
   * Ends it, with this code where the transport can say it. From this call on it is silent: no `close` event
   * follows, however long the peer takes.
   */
  close(code?: number, reason?: string): void;
  /** True where connections are few, as a browser has six for a site by HTTP/1.1: a hidden tab gives its own up. */
  readonly isScarce?: boolean;
}

/**
 * Begins a connection and reports by `events`, never before it has returned.
 * @param url absolute, `ws:` or `wss:`, with its query
 * @param protocols subprotocols to offer; none in plain mode
 */
export interface TransportFactory {
  (url: string, protocols: string[], events: TransportEvents): Transport;
  /**
   * It dials when it wants to: it gets a `url` and `protocols` without a ticket, and the client's talk to ask for one.
   * @internal
   */
  lazily?(talk: unknown): void;
}

/** As much of a WebSocket as is used here: the browser's, Node's, that of `tidings/ws` and `ws` all have it. */
export interface WebSocketLike {
  /** Set to `arraybuffer`. */
  binaryType: string;
  /** Called when it is connected. */
  onopen: ((event: never) => unknown) | null;
  /** Called with each frame, in `data`. */
  onmessage: ((event: never) => unknown) | null;
  /** Called once it has ended, with `code` and `reason`. */
  onclose: ((event: never) => unknown) | null;
  /** Called when it could not be made; `onclose` follows. */
  onerror: ((event: never) => unknown) | null;
  /** Sends a text frame. */
  send(data: string): void;
  /** Begins the closing handshake. */
  close(code?: number, reason?: string): void;
}
/** A class of such WebSockets. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => WebSocketLike;

/**
 * @param Constructor default: the environment's own `WebSocket`
 * @throws where there is none
 */
export function webSocketTransport(
  Constructor = (globalThis as { WebSocket?: WebSocketConstructor }).WebSocket,
): TransportFactory {
  if (Constructor === undefined) throw new Error('no WebSocket here: pass one');
  return (url, protocols, events) => {
    const socket = new Constructor(url, protocols);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => events.open();
    socket.onmessage = (event: { data: unknown }) => events.message(event.data);
    socket.onclose = (event: { code: number; reason: string }) => events.close(event.code, event.reason);
    // A close event follows every error; and EventEmitter-based sockets throw where nobody listens.
    socket.onerror = () => {};
    return {
      send: (text) => socket.send(text),
      close(code, reason) {
        socket.onopen = socket.onmessage = socket.onclose = null;
        // Of a page a browser takes only these codes, and 123 bytes of reason; for others it throws.
        const isFit = code === 1000 || ((code as number) >= 3000 && (code as number) < 5000);
        if (isFit) socket.close(code, cut(reason));
        else socket.close();
      },
    };
  };
}

/** What was thrown, in words. */
export function textOf(thrown: unknown): string {
  return (thrown as Error | undefined)?.message ?? String(thrown);
}

/** To as many characters as have room in 123 bytes. */
function cut(reason = ''): string {
  let text = reason.slice(0, 123);
  while (new Blob([text]).size > 123) text = text.slice(0, -1);
  return text;
}

/** What `connect` takes. */

import type { ReconnectOptions } from './reconnect.ts';
import type { StorageLike } from './storage.ts';
import type { TransportFactory, WebSocketConstructor } from './transport.ts';

/** Where a channel begins: see `ConnectOptions.start`. */
export type Start = 'now' | 'retained' | 'beginning';
export type Ticket = string | null | undefined;
export type TicketSource = Ticket | (() => Ticket | Promise<Ticket>);

/** What `connect` takes. All of it is optional. */
export interface ConnectOptions {
  /** Of the push endpoint: absolute (`wss:`, `https:`, …) or relative to the page. Default `/socketServer`. */
  url?: string;
  /** The user's name, sent as a query parameter. Only servers that trust it by configuration take it as proof. */
  user?: string;
  /** That parameter's name. Default `operator`. */
  userParameter?: string;
  /**
   * A signed ticket, or a function that gets a fresh one: it is asked before every attempt, while connected before the
   * session ends, and once more where the server refused what it gave. With one that is refused the client stops:
   * `client.connect({ ticket })` goes on.
   */
  ticket?: TicketSource;
  /**
   * The query parameter that carries the ticket. Default: none, it goes as the subprotocol `ticket.<ticket>`,
   * which access logs don't show.
   */
  ticketParameter?: string;

  /** Topics to subscribe to from the start. */
  topics?: string[];
  /**
   * Where a channel begins for which this page has no position yet:
   * - `now` (the default): after what this device has acknowledged, else with the next message;
   * - `retained`: after what this device has acknowledged, else with the oldest message that is retained;
   * - `beginning`: with the oldest that is retained in any case, for a page that keeps nothing itself. Where
   *   older ones are gone, a `gap` event with reason `trimmed` says so.
   */
  start?: Start;
  /** This device's stable id. Default: made up once per user and kept in localStorage; null for none. */
  device?: string | null;
  /**
   * Where to keep positions between page loads, such as `sessionStorage`. Default: nowhere, as the server
   * remembers what each device has acknowledged.
   */
  positions?: StorageLike;
  /** `auto`: when the page's `message` listeners have returned, or their promises are fulfilled. Default `auto`. */
  ack?: 'auto' | 'manual';
  /** Milliseconds that acknowledgements are gathered for. Default 200. */
  ackDelay?: number;

  /** When to try again, or `false` for never. Default: full jitter, 0.5 s doubling to 20 s, for ever. */
  reconnect?: ReconnectOptions | false;
  /** Milliseconds of silence before a ping, and from there to giving up. Default: as the server says, else 60_000 each. */
  heartbeat?: { interval?: number; timeout?: number };
  /** Milliseconds from the beginning of an attempt until the server has welcomed the client. Default 15_000. */
  connectTimeout?: number;

  /** No subprotocol: frames are the bare data, `ping` is answered by `hb_ok`, nothing is recovered. */
  plain?: boolean;
  /** Default: the environment's own. Where there is none, as in Node 20, the client goes by SockJS: give that of `tidings/ws`. */
  WebSocket?: WebSocketConstructor;
  /** What carries the frames. Default: `webSocketTransport(options.WebSocket)`. */
  transport?: TransportFactory;
  /**
   * The SockJS endpoint for where WebSocket is broken, absolute or relative to `url`; `false` for none. Default:
   * `/sockjs` in front of the path of `url`. Means nothing with `transport`, and in the core without fallback.
   */
  fallback?: string | false;
  /**
   * Tabs of one origin, endpoint, user and device share one connection, where the browser lets them. Default false. Means
   * nothing in plain mode, in the core, and outside of pages.
   */
  share?: boolean;
  /**
   * Where tidings-share.js is at the page's own origin, for `share` on plain http. Default: beside the script that the client
   * is in.
   */
  worker?: string;
  /** Where the device id is kept. Default: localStorage in a page, otherwise nowhere. */
  storage?: StorageLike;
}

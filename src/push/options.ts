/** The options of a push server and what they are when left out. */

import type { Server as HttpServer } from 'node:http';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { TlsOptions } from 'node:tls';
import type { Log, LogLevel } from '../log-fields.ts';
import type { PolicyServerOptions } from '../policy/index.ts';
import type { Broker, Retention } from '../pubsub/store/broker.ts';
import type { Origins } from '../server/origin.ts';
import type { Attributes, Handler, HandshakeRequest, Interceptor } from '../server/transport.ts';
import type { SockJsOptions } from '../sockjs/index.ts';
import type { Resolve } from './delivery/references.ts';
import type { TopicOptions } from './delivery/topic-options.ts';
import type { Refusals } from './door/refusals.ts';
import type { TicketSecret } from './door/ticket.ts';
import type { ExpiryOptions } from './pages/logins.ts';
import type { Session } from './pages/session.ts';
import type { OpenTelemetry } from './tracing/otel.ts';

/** All bounds of a push server. 0 turns one off, except where it says otherwise. */
export interface Limits {
  /** Bytes of one message, in both directions. Over it: close 1009, or a RangeError from `send`. Default 1 MiB; never off. */
  message: number;
  /**
   * Bytes that wait for a session to read them. Over it, by one message at most, the session gets nothing more but what
   * it is answered; when it has read most of it, it goes on from the log. Default 1 MiB; never off.
   */
  outbox: number;
  /** Milliseconds within which a session whose outbox is full takes something. Over it: close 4430. Default 120,000. */
  stall: number;
  /** Sessions of one user on this instance. Over it the oldest is closed with 4509. Default 100. */
  sessionsPerUser: number;
  /** Sessions of one address (see `proxies`). Over it: 429. Default 20,000. */
  sessionsPerAddress: number;
  /** Sessions of this instance. Over it: 503. Default 200,000. */
  sessions: number;
  /** Handshakes that are asked about at once; others wait their turn. Default 200. */
  handshakes: number;
  /**
   * Frames from one session, on average and so many at once. Over it nothing is read from the session for a while; close
   * 4429 where it sends on nevertheless, as SockJS's requests can. Default 100.
   */
  messagesPerSecond: number;
  /**
   * The same of bytes; one frame by itself is never too much. In `tidings.1` each array and object counts as 64 more.
   * Default 4 MiB.
   */
  bytesPerSecond: number;
  /** Topics that one session may subscribe to. Default 100; never off. */
  subscriptions: number;
  /** Milliseconds that a `tidings.1` client may take for its `hello`. Over it: close 4408. Default 10,000; never off. */
  helloTimeout: number;
  /**
   * Milliseconds that `authorize` may take for an answer, which holds up what the session has sent behind it. Over it,
   * the frame is refused as `unavailable`. Default 10,000; never off.
   */
  answer: number;
  /** Messages that wait in the store to be sent later, of all instances. Over it: a RangeError from `send`. Default 1,000,000. */
  scheduled: number;
}

/** What holds for each limit that is not given. */
export const DEFAULT_LIMITS: Limits = {
  message: 1024 * 1024,
  outbox: 1024 * 1024,
  stall: 120_000,
  sessionsPerUser: 100,
  sessionsPerAddress: 20_000,
  sessions: 200_000,
  handshakes: 200,
  messagesPerSecond: 100,
  bytesPerSecond: 4 * 1024 * 1024,
  subscriptions: 100,
  helloTimeout: 10_000,
  answer: 10_000,
  scheduled: 1_000_000,
};

/** When silence is noticed, and by whom. Milliseconds. */
export interface Heartbeat {
  /** Milliseconds of silence after which a client pings; told to it in `welcome`. Default 60,000. */
  interval: number;
  /** Milliseconds more after which a client gives the connection up. Default 60,000. */
  timeout: number;
  /** Milliseconds without a byte after which the server sends a WebSocket ping; two unanswered close with 4408. Default 25,000; 0 turns it off. */
  ping: number;
}

/** What holds for each time that is not given. */
export const DEFAULT_HEARTBEAT: Heartbeat = { interval: 60_000, timeout: 60_000, ping: 25_000 };

const HOUR = 60 * 60 * 1000;

/** The longest that a message stays in a log. */
export interface RetentionOptions {
  /** Default 1,000 messages and 7 days. */
  inbox?: Partial<Retention>;
  /** Default 1,000 messages and 24 hours. */
  topic?: Partial<Retention>;
}

/** What holds where `retention` says nothing: 1,000 messages; 7 days for inboxes and 24 hours for topics. */
export const DEFAULT_RETENTION: { inbox: Retention; topic: Retention } = {
  inbox: { maxMessages: 1000, maxAge: 7 * 24 * HOUR },
  topic: { maxMessages: 1000, maxAge: 24 * HOUR },
};

/** How long an acknowledgement cursor outlives its last move, in milliseconds. */
export const DEFAULT_CURSOR_TTL = 30 * 24 * HOUR;

/** An interceptor of a push server: it may also say again who a session is, when its page brings a new ticket. */
export interface PushInterceptor extends Interceptor {
  /** Where it has to get ready: `PushServer.ready` waits for it, and rejects where it does. */
  readonly ready?: PromiseLike<unknown>;
  /**
   * Looks at the ticket of a frame `renew`; without one the page only asks whether it may stay. Answers what it says of
   * the session now, as `session.renew` takes it; or a Response that refuses: 403 sends the page away, after 401 it stays
   * until its end; or nothing, which leaves it to the next interceptor. A throw, a rejection, another status and no
   * answer within `limits.answer` tell the page to try again.
   */
  renew?(
    ticket: string | undefined,
    session: Session,
  ): Attributes | Response | undefined | void | Promise<Attributes | Response | undefined | void>;
}

/** What clients may do: topics only where it says so. */
export interface Authorize {
  /**
   * Whether somebody may come in of whom the interceptors have said who he is: for what can't be listed, as `block` does.
   * Anything but `true` refuses with 403; what throws, rejects or gives no answer within `limits.answer`, with 503.
   * Left out, the answer is yes.
   */
  connect?(attributes: Attributes, request: HandshakeRequest): boolean | Promise<boolean>;
  /**
   * Whether the session may have the topic; asked each time that it subscribes. Not asked of topics that the application
   * gives by itself, or permits by a ticket. Anything but `true` is a refusal, also what throws, rejects or gives no
   * answer within `limits.answer`, which is logged.
   */
  subscribe?(session: Session, topic: string): boolean | Promise<boolean>;
  /**
   * Whether the session, which has the topic, may be told who else is on it; otherwise as `subscribe`. Only asked of
   * topics whose options say `presence: true`.
   */
  presence?(session: Session, topic: string): boolean | Promise<boolean>;
  /** Whether it may publish this there; otherwise as `subscribe`. */
  publish?(session: Session, topic: string, data: unknown): boolean | Promise<boolean>;
}

/** How messages that were sent by reference get their data. */
export interface ReferenceOptions {
  /**
   * Looks the application's object up. `undefined`: there is no such thing (any more). A rejection is
   * tried again with backoff until `timeout`.
   */
  resolve: Resolve;
  /**
   * A channel on which other programs PUBLISH bare keys: `PUBLISH <prefix>:mail 42`. Each instance that
   * hears one resolves it and stores the reference in that user's inbox, all of them together once.
   */
  channel?: string;
  /** Milliseconds that an unresolved message may hold up what follows it in its channel. Default 10,000. */
  timeout?: number;
  /** Milliseconds that a result is used again. Default 10,000. */
  cache?: number;
}

/** Port, grants and limits of the Flash policy server; the same policy is answered on the push server's own port. */
export type PolicyOptions = Omit<PolicyServerOptions, 'onWarning'>;

/** The SockJS endpoint. Interceptors, handler, origins, proxies and limits are the push server's. */
export type PushSockJsOptions = Pick<
  SockJsOptions,
  | 'prefix'
  | 'websocket'
  | 'hixie76'
  | 'jsessionid'
  | 'clientUrl'
  | 'baseUrl'
  | 'responseLimit'
  | 'heartbeatDelay'
  | 'disconnectDelay'
>;

export type { Log, LogFields, LogLevel } from '../log-fields.ts';
export type { Overflow, TopicOptions } from './delivery/topic-options.ts';
export type { ExpiryOptions } from './pages/logins.ts';
export type { OpenTelemetry } from './tracing/otel.ts';

/** What a PushServer is made with. All of it is optional. */
export interface PushServerOptions {
  /**
   * A server of `node:http`, `node:https` or `node:http2` to share (docs/http2.md); its other requests, upgrades and streams are
   * left alone. Or give `port`.
   */
  server?: HttpServer | HttpsServer | Http2Server | Http2SecureServer;
  /** A port of its own; 0 for any free one. */
  port?: number;
  /** Default: all interfaces. Only with `port`. */
  host?: string;
  /**
   * Options of `tls.createServer`, such as `{ cert, key }`: the port speaks TLS, and HTTP/2 beside HTTP/1.1 (docs/http2.md).
   * `reload({ tls })` renews the certificate. Only with `port`. Default: no TLS.
   */
  tls?: TlsOptions;
  /** Whether a port of its own with TLS offers HTTP/2. Default true. */
  http2?: boolean;
  /** Default `/socketServer`. */
  path?: string;
  /** For pages that can't use WebSocket; below `prefix`, such as `/sockjs/socketServer`. Default: none. */
  sockjs?: PushSockJsOptions;
  /** This instance's name among the others; of two with the same name, nobody can say where a session is. Default: random. */
  instance?: string;
  /** Belongs to the push server from here on: `close` closes it. Default `memoryBroker()`. */
  broker?: Broker;
  /**
   * They say who the user is (`attributes.user`), and may say by which `login`, until when (`expires`), and which
   * `topics` the session gets without asking. Who stays
   * unknown is refused with 401; what can't be, such as an `expires` that is no number, with 500 and a line in the log.
   */
  interceptors?: PushInterceptor[];
  /**
   * Whether who may not come in is told by a close code (4501 for 401, 4503 for 403, 4500 for 400) or by the HTTP
   * status. Default `auto`: `tidings.1` and SockJS by the code, as a page sees no status; others by the status.
   */
  refusals?: Refusals;
  /** What becomes of sessions when their login ends (`expires`). */
  expiry?: ExpiryOptions;
  /** The application's part in the life of sessions. Gets what plain mode sends besides pings. */
  handler?: Handler<Session>;
  /** Pages that may connect besides those of the same origin; `*` for all. */
  origins?: Origins;
  /** Addresses or CIDR blocks of proxies whose X-Forwarded-For is believed; `unix:` for whoever connects by a Unix socket. Default: none. */
  proxies?: string[];
  /** Default `DEFAULT_HEARTBEAT`. */
  heartbeat?: Partial<Heartbeat>;
  /** Default `DEFAULT_LIMITS`. */
  limits?: Partial<Limits>;
  /** How long messages are kept. Default `DEFAULT_RETENTION`. */
  retention?: RetentionOptions;
  /**
   * Whether pages in plain mode are told how many messages of their inbox are unread, by a text frame of its own after each
   * change: `{"type":"counts","unseen":…,"unread":…,"all":…}`. Default false, as pages that expect only messages would
   * take it for one.
   */
  plainCounts?: boolean;
  /** By topic; a name that ends in `*` stands for all that begin so, the longest match counts. */
  topics?: Record<string, TopicOptions>;
  /** What pages may subscribe to and publish. Default: nothing but what they are given. */
  authorize?: Authorize;
  /** The secret of tickets for topics (`signTopicTicket`). Default: there are none. */
  topicTickets?: TicketSecret;
  /** Default: `sendReference` is refused. */
  references?: ReferenceOptions;
  /** A Flash policy server beside this one; where its port can't be had, that is logged and the rest runs on. */
  policy?: PolicyOptions;
  /** Milliseconds after which the position of a channel without messages is compared with the store. Default 15,000. */
  checkInterval?: number;
  /**
   * Milliseconds for which an instance that can't be reached may deliver what it has: as long as that, `disconnect` and
   * `block` wait for it. It takes so long, too, until an outage of the store stops all deliveries. Default 5,000, at
   * least 500; the same on all instances.
   */
  lease?: number;
  /** Milliseconds in which all instances have to confirm a `disconnect` or `block`. Default 10,000. */
  confirmTimeout?: number;
  /** Milliseconds that a vanished instance's sessions stay visible to `sessions` and `online`. Default 30,000. */
  presenceTtl?: number;
  /** Milliseconds that a user may be gone from a topic before pages are told that he has left. Default 5,000. */
  presenceGrace?: number;
  /** Milliseconds that an acknowledgement is kept after a device's last one. Default 30 days. */
  cursorTtl?: number;
  /**
   * Whether the way of messages becomes spans of OpenTelemetry: `true` loads `@opentelemetry/api`, or give that module,
   * which bundlers like better. Default `false`.
   */
  tracing?: boolean | OpenTelemetry;
  /**
   * Gets each line of the log: `log(level, message, fields)`. Default: warnings and errors to the console. Every line also
   * goes to the diagnostics channel `tidings:log`. Which events there are is in docs/logs.md.
   */
  log?: Log;
  /**
   * What is below this level is left out: `debug`, `info`, `warn` or `error`. Default `info`; for the console `warn`.
   * `push.logLevel` changes it.
   */
  logLevel?: LogLevel;
}

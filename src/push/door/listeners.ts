/** Where a push server can be reached: its WebSocket listener and, beside it, the Flash policy server. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import {
  answerInBand,
  buildPolicyFile,
  explainUnreachableGrants,
  PolicyServer,
  policyTakeover,
} from '../../policy/index.ts';
import { OwnHttp } from '../../server/own-http.ts';
import type { PreparedMessage } from '../../server/prepared-message.ts';
import { requestTarget } from '../../server/request-target.ts';
import type { StreamCounts } from '../../server/stream-accounts.ts';
import { type Traffics, trafficByKind } from '../../server/traffic.ts';
import type { Handler, HandshakeRequest, Interceptor, Transport } from '../../server/transport.ts';
import { WebSocket } from '../../server/websocket.ts';
import { streamsOf, trafficOf, turnedAwayBy, WebSocketServer } from '../../server/websocket-server.ts';
import { type Bus, type Fence, SockJsServer } from '../../sockjs/index.ts';
import type { FanOut } from '../delivery/audience.ts';
import { largestFrame } from '../limits.ts';
import type { Heartbeat, Limits, Log, PolicyOptions, PushServerOptions } from '../options.ts';
import { SUBPROTOCOL } from '../talk/wire.ts';
import type { RefusalReason } from './handshake-counts.ts';
import { closingRefusals } from './refusals.ts';
import { isTicketProtocol, offeredProtocols } from './request.ts';
import type { Rules } from './rules.ts';

const DEFAULT_PATH = '/socketServer';
/** What a peer has for its part of the closing handshake, in milliseconds. Its outbox is kept as long. */
const CLOSE_TIMEOUT = 5_000;
const NO_STREAMS = { connections: 0, websockets: 0 };

export interface ListenerParts {
  interceptors: Interceptor[];
  handler: Handler<Transport>;
  addressOf: (request: HandshakeRequest) => string;
  /** More than `limits.outbox` waits for a transport that is reached together with others. */
  overfull: (transport: Transport) => void;
  /** Between the instances that share SockJS sessions. */
  bus: Bus | undefined;
  fence: Fence;
  log: Log;
}

export interface ListenerSettings {
  rules: Pick<Rules, 'refusals' | 'origins'>;
  limits: Limits;
  heartbeat: Heartbeat;
}

export class Listeners implements FanOut {
  readonly #policy: PolicyServer | undefined;
  readonly #websockets: WebSocketServer | undefined;
  readonly #sockjs: SockJsServer | undefined;
  /** SockJS needs HTTP where no server was given. */
  readonly #ownHttp: OwnHttp | undefined;
  readonly #ownsPort: boolean;
  readonly #path: string;
  readonly #listening: Promise<unknown>;
  readonly #log: Log;
  readonly #policyOptions: PolicyOptions | undefined;
  #undoInBand: (() => void) | undefined;
  #ended: Promise<void> | undefined;

  constructor(options: PushServerOptions, settings: ListenerSettings, parts: ListenerParts) {
    const { port, host, sockjs, tls, http2 } = options;
    this.#log = parts.log;
    this.#ownsPort = options.server === undefined && port !== undefined;
    this.#path = options.path ?? DEFAULT_PATH;
    this.#ownHttp =
      this.#ownsPort && sockjs !== undefined
        ? new OwnHttp({ tls, http2 }, (request, response) => this.#answer(request, response))
        : undefined;
    const server = options.server ?? this.#ownHttp?.server;
    this.#policy =
      options.policy &&
      new PolicyServer({
        ...options.policy,
        onWarning: (message) => parts.log('warn', message, { event: 'policy-unheeded' }),
      });
    this.#policyOptions = options.policy;
    const policy = options.policy && buildPolicyFile(options.policy);
    if (server !== undefined && policy !== undefined) this.#undoInBand = answerInBand(server, policy);
    this.#listening = Promise.resolve();
    if (server === undefined && port === undefined) {
      if (sockjs !== undefined) throw new TypeError('sockjs needs `server` or `port`');
      return;
    }
    const { rules } = settings;
    const isPage = (request: HandshakeRequest): boolean =>
      rules.refusals === 'close' ||
      (rules.refusals === 'auto' && offeredProtocols(request).includes(SUBPROTOCOL));
    const hasRaw = sockjs !== undefined && sockjs.websocket !== false;
    const listeners = options.server?.listeners('error') ?? [];
    const websockets = new PushWebSockets(hasRaw ? `${sockjs.prefix}/websocket` : undefined, {
      ...(server === undefined
        ? { port, host, tls, http2, markup: policy === undefined ? undefined : policyTakeover(policy) }
        : { server }),
      path: this.#path,
      others: 'ignore',
      interceptors: closingRefusals(parts.interceptors, isPage),
      handler: parts.handler,
      views: true,
      clientTracking: false,
      handleProtocols: chooseProtocol,
      closeTimeout: CLOSE_TIMEOUT,
      ...websocketLimits(settings),
      backpressurePolicy: parts.overfull,
    });
    this.#websockets = websockets;
    // A server that is shared tells its owner what goes wrong; without us, nobody listening would end the process.
    for (const each of options.server?.listeners('error') ?? []) {
      if (!listeners.includes(each)) options.server!.removeListener('error', each as (error: Error) => void);
    }
    if (server !== undefined && sockjs !== undefined) {
      this.#sockjs = new SockJsServer({
        ...sockjs,
        server,
        interceptors: closingRefusals(parts.interceptors, () => rules.refusals !== 'http'),
        handler: parts.handler,
        // Without SockJS frames it is a connection like any other.
        raw: (request, socket, head) => websockets.handleUpgrade(request, socket, head, () => {}),
        origins: rules.origins,
        addressOf: parts.addressOf,
        fence: parts.fence,
        ...(parts.bus !== undefined && { bus: parts.bus }),
        // The sessions look themselves.
        maxBuffered: Number.POSITIVE_INFINITY,
        ...sockjsLimits(settings),
      });
    }
    if (this.#ownsPort) this.#listening = once(this.#websockets, 'listening');
    // Before it listens, that is what it is told by.
    let isListening = false;
    this.#listening.then(
      () => {
        isListening = true;
      },
      () => {},
    );
    this.#websockets.on('error', (error) => {
      if (isListening)
        this.#log('error', `the listener failed: ${error.message}`, {
          event: 'listener-failed',
          error: error.message,
        });
    });
    this.#ownHttp?.server.listen(port, host);
  }

  /** Settings have changed: they count for connections that come from now on. */
  changed(settings: ListenerSettings): void {
    if (this.#websockets !== undefined) Object.assign(this.#websockets.options, websocketLimits(settings));
    this.#sockjs?.change({ origins: settings.rules.origins, ...sockjsLimits(settings) });
  }

  /** The certificate of a port of our own is another one from now on. @throws {Error} for what can't be one */
  renewTls(tls: SecureContextOptions): void {
    if (this.#ownHttp !== undefined) this.#ownHttp.setSecureContext(tls);
    else if (this.#ownsPort) this.#websockets?.setSecureContext(tls);
  }

  /** Resolves when the port of our own is open. */
  async listen(): Promise<void> {
    await this.#listening;
    if (this.#ownsPort) this.#tell('push', this.address());
    try {
      await this.#policy?.listen();
      if (this.#policy !== undefined) this.#tell('policy', this.#policy.address());
    } catch (error) {
      // Most systems give port 843 only to the privileged; everything else works without it.
      this.#log('warn', (error as Error).message, { event: 'policy-not-listening' });
      const own = this.address();
      const problem =
        this.#policyOptions !== undefined && own !== null && typeof own === 'object'
          ? explainUnreachableGrants(this.#policyOptions, own.port)
          : undefined;
      if (problem !== undefined) this.#log('warn', problem, { event: 'policy-unheeded' });
    }
  }

  /** What came and went by each transport. */
  get traffic(): Traffics {
    const { traffic } = this.#sockjs ?? {};
    const own = this.#websockets === undefined ? {} : { websocket: trafficOf(this.#websockets) };
    return trafficByKind({ ...traffic, ...own });
  }

  /** What there is on streams of HTTP/2, but for SockJS. */
  get streams(): Readonly<Pick<StreamCounts, 'connections' | 'websockets'>> {
    return this.#websockets === undefined ? NO_STREAMS : streamsOf(this.#websockets);
  }

  /** Those about whom no interceptor was asked. */
  get turnedAway(): Readonly<Partial<Record<RefusalReason, number>>> {
    const own = this.#websockets && turnedAwayBy(this.#websockets);
    const sockjs = this.#sockjs?.turnedAway;
    return {
      malformed: (own?.malformed ?? 0) + (own?.path ?? 0) + (sockjs?.malformed ?? 0),
      draining: (own?.closing ?? 0) + (sockjs?.closing ?? 0),
      full: sockjs?.full ?? 0,
      address: sockjs?.address ?? 0,
      origin: sockjs?.origin ?? 0,
    };
  }

  /** SockJS's sessions over HTTP: also those that are over, and only kept for late requests. */
  get httpSessions(): number {
    return this.#sockjs?.httpSessions ?? 0;
  }

  #tell(what: string, address: AddressInfo | string | null): void {
    const { address: host, port } = typeof address === 'object' && address !== null ? address : {};
    const where = port === undefined ? String(address) : `port ${port} of ${host}`;
    this.#log('info', `${what}: listening on ${where}`, { event: 'listening', what, host, port });
  }

  address(): AddressInfo | string | null {
    return this.#websockets?.address() ?? null;
  }

  reaches(transport: Transport): boolean {
    return this.#websockets !== undefined && transport instanceof WebSocket;
  }

  join(group: string, transport: Transport): void {
    (transport as WebSocket).subscribe(group);
  }

  leave(group: string, transport: Transport): void {
    (transport as WebSocket).unsubscribe(group);
  }

  publish(group: string, frame: PreparedMessage): number {
    return this.#websockets!.publish(group, frame);
  }

  /**
   * Accepts no more connections; those that are open stay. On a server that is shared, handshakes are still
   * answered, so that they can be refused properly.
   */
  stop(): void {
    if (this.#ownHttp !== undefined) void this.#ownHttp.stop();
    else if (this.#ownsPort) void this.#end();
  }

  /** What comes to a port of our own and is for nobody. */
  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (requestTarget(request).path === this.#path) askForUpgrade(request, response);
    else response.writeHead(404, { 'Content-Type': 'text/plain' }).end('Not found\n');
  }

  async close(): Promise<void> {
    this.#sockjs?.close();
    this.#undoInBand?.();
    await Promise.all([this.#policy?.close(), this.#end()]);
  }

  #end(): Promise<void> {
    this.#ended ??= new Promise((resolve) => {
      if (this.#websockets === undefined) resolve();
      else this.#websockets.close(() => resolve());
      void this.#ownHttp?.stop();
      this.#ownHttp?.cut();
    });
    return this.#ended;
  }
}

function websocketLimits({ limits, heartbeat }: ListenerSettings) {
  return {
    maxPayload: largestFrame(limits),
    pingInterval: heartbeat.ping,
    // What is sent to many at once does not pass by the sessions' own look at their outboxes.
    maxBackpressure: limits.outbox,
  };
}

function sockjsLimits({ limits }: ListenerSettings) {
  return {
    maxMessage: largestFrame(limits),
    maxSessions: limits.sessions || Number.POSITIVE_INFINITY,
    maxSessionsPerAddress: limits.sessionsPerAddress || Number.POSITIVE_INFINITY,
  };
}

/** With a second path, that of SockJS's raw WebSocket: one kind of connection has one owner, whichever door it comes by. */
class PushWebSockets extends WebSocketServer {
  readonly #raw: string | undefined;

  constructor(raw: string | undefined, options: ConstructorParameters<typeof WebSocketServer>[0]) {
    super(options);
    this.#raw = raw;
  }

  override shouldHandle(request: IncomingMessage): boolean | Promise<boolean> {
    return requestTarget(request).path === this.#raw || super.shouldHandle(request);
  }
}

/** Answers a request to a WebSocket's path that does not ask for one (RFC 9110 §15.5.22; over HTTP/2 nothing is upgraded). */
export function askForUpgrade({ httpVersionMajor }: IncomingMessage, response: ServerResponse): void {
  const type = { 'Content-Type': 'text/plain' };
  if (httpVersionMajor === 2) {
    response.writeHead(405, { ...type, Allow: 'CONNECT' }).end('Here is a WebSocket (RFC 8441)\n');
    return;
  }
  const headers = { ...type, Upgrade: 'websocket', Connection: 'Upgrade' };
  response.writeHead(426, headers).end('Upgrade Required: here is a WebSocket\n');
}

/** A browser fails a connection whose offer of subprotocols is not answered with one of them. */
function chooseProtocol(offered: Set<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL;
  for (const protocol of offered) if (isTicketProtocol(protocol)) return protocol;
  return false;
}

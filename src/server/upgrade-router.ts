/**
 * Several WebSocketServers on one http.Server, each with its path, beside upgrade listeners of others. One
 * listener asks them in turn, so that none of them answers what another one takes. What none of them takes is
 * left alone where anybody else listens, for good: a quiet socket may well be somebody's. Where nobody does, the
 * request is answered by the server's own listeners, as if it had not asked.
 */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { Http2SecureServer, Http2Server } from 'node:http2';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { listenFirst } from '../listen-first.ts';
import { asksForWebSocket, connectsWebSocket, hasBody } from '../protocol/handshake.ts';
import { requestOf, type StreamEvent } from './http2-stream.ts';
import { answerPlainly, inTurn } from './plain-request.ts';
import { refuse } from './refusal.ts';

export type UpgradableServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer;

export interface Route {
  /** Whether the request is for this one. It asks for a WebSocket. */
  matches(request: IncomingMessage): boolean;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Whether a WebSocket that no route takes is refused, with 400. Otherwise the request is one like any other. */
  refusesOthers?: boolean;
}

/** Node asks this from 22.21 and 24.9 on, before it emits `upgrade`; false: it is a request like any other. */
type ShouldUpgrade = (this: UpgradableServer, request: IncomingMessage) => boolean;

const NOTHING = Buffer.alloc(0);

const routers = new WeakMap<UpgradableServer, Router>();

/** @returns a function that takes the route away again */
export function addRoute(server: UpgradableServer, route: Route): () => void {
  let router = routers.get(server);
  if (router === undefined) {
    router = new Router(server);
    routers.set(server, router);
  }
  const added = router;
  added.add(route);
  return () => added.delete(route);
}

class Router {
  readonly #server: UpgradableServer & { shouldUpgradeCallback?: ShouldUpgrade };
  readonly #routes: Route[] = [];
  /** By request, from before the first listener was called: whether there are others, and what was written. */
  readonly #seen = new WeakMap<IncomingMessage, { hasOthers: boolean; written: number }>();
  #unwatch: (() => void) | undefined;

  constructor(server: UpgradableServer) {
    this.#server = server;
  }

  add(route: Route): void {
    if (this.#routes.length === 0) this.#begin();
    this.#routes.push(route);
  }

  delete(route: Route): void {
    const index = this.#routes.indexOf(route);
    if (index === -1) return;
    this.#routes.splice(index, 1);
    if (this.#routes.length > 0) return;
    this.#server.removeListener('upgrade', this.#onUpgrade);
    this.#unwatch!();
  }

  #begin(): void {
    const server = this.#server;
    server.on('upgrade', this.#onUpgrade);
    // Those of HTTP/2 that are to come say that streams may become WebSockets (RFC 8441 §3).
    if ('updateSettings' in server) server.updateSettings({ enableConnectProtocol: true });
    const unlook = listenFirst(server, (event, args) => {
      if (event === 'stream') return this.#claimStream(...(args as StreamEvent));
      if (event === 'upgrade') {
        const [request, socket] = args as [IncomingMessage, Duplex];
        this.#seen.set(request, { hasOthers: this.#hasOthers(), written: written(socket) });
      }
      return false;
    });
    // From some release on, Node reads a body itself before it emits `upgrade`. So where it can be told in time
    // that nobody wants the upgrade, it is told for those with a body. (What comes behind the body in the same
    // packet it then loses, with and without us; without a body it would lose that, too.)
    const asked = server.shouldUpgradeCallback;
    if (asked === undefined) {
      this.#unwatch = unlook;
      return;
    }
    const ask: ShouldUpgrade = (request) =>
      Reflect.apply(asked, server, [request]) && !(hasBody(request.headers) && this.#isNobodys(request));
    server.shouldUpgradeCallback = ask;
    this.#unwatch = () => {
      unlook();
      // Whoever has wrapped it asks ours, which then finds others or nobody, as without it.
      if (server.shouldUpgradeCallback === ask) server.shouldUpgradeCallback = asked;
    };
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const seen = this.#seen.get(request);
    // Somebody before us has answered already.
    if (seen !== undefined && seen.written !== written(socket)) return;
    const isOurs = asksForWebSocket(request);
    const route = isOurs ? this.#routes.find((each) => each.matches(request)) : undefined;
    if (route !== undefined) inTurn(socket, () => route.upgrade(request, socket, head));
    else if (seen?.hasOthers || this.#hasOthers()) leave(socket);
    else if (isOurs && this.#refusesOthers()) inTurn(socket, () => refuse(socket, 400));
    else answerPlainly(this.#server, request, socket, head);
  };

  /**
   * A stream of HTTP/2 that asks to become a WebSocket (RFC 8441). Who takes it is the only one to see it: Node's own
   * listener for `request` would answer it with 405.
   */
  #claimStream(...[stream, headers, , rawHeaders]: StreamEvent): boolean {
    if (!connectsWebSocket({ method: headers[':method'], headers })) return false;
    const request = requestOf(stream, headers, rawHeaders);
    const route = this.#routes.find((each) => each.matches(request));
    if (route !== undefined) route.upgrade(request, stream, NOTHING);
    else if (this.#hasOtherStreams()) return false;
    else refuse(stream, this.#refusesOthers() ? 400 : 404);
    return true;
  }

  /** Whether anybody else may answer streams that ask for something: a listener for requests does not. */
  #hasOtherStreams(): boolean {
    const server = this.#server;
    // Node listens for `request` by a listener for `stream`.
    const own = server.listenerCount('request') > 0 ? 1 : 0;
    return server.listenerCount('connect') > 0 || server.listenerCount('stream') > own;
  }

  /** An upgrade that nobody here takes (RFC 9110 §7.8): it is as if it had not been asked for. */
  #isNobodys(request: IncomingMessage): boolean {
    if (this.#hasOthers()) return false;
    if (!asksForWebSocket(request)) return true;
    return !this.#refusesOthers() && !this.#routes.some((each) => each.matches(request));
  }

  #refusesOthers(): boolean {
    return this.#routes.some(({ refusesOthers }) => refusesOthers);
  }

  #hasOthers(): boolean {
    return this.#server.listeners('upgrade').some((listener) => listener !== this.#onUpgrade);
  }
}

/** Bytes that the socket was given so far. */
function written(socket: Duplex): number {
  return socket.writableLength + ('bytesWritten' in socket ? Number(socket.bytesWritten) : 0);
}

/** To the other upgrade listeners. Should none of them listen for errors, a reset must not end the process. */
function leave(socket: Duplex): void {
  socket.on('error', ignore);
}

function ignore(): void {}

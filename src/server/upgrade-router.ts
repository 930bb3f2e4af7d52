/**
 * Several WebSocketServers on one http.Server, each with its path, beside upgrade listeners of others. One
 * listener asks them in turn, so that none of them answers what another one takes.
 */
import type { Server as HttpServer, IncomingMessage } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { arm, disarm, type Expirable } from './deadlines.ts';
import { refuse } from './refusal.ts';

export type UpgradableServer = HttpServer | HttpsServer;

export interface Route {
  /** Whether the request is for this one. */
  matches(request: IncomingMessage): boolean;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Milliseconds for the handshake, in which others have to answer what no route matches. Default 10_000; 0: no limit. */
  readonly handshakeTimeout?: number;
}

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
  readonly #server: UpgradableServer;
  readonly #routes: Route[] = [];

  constructor(server: UpgradableServer) {
    this.#server = server;
  }

  add(route: Route): void {
    if (this.#routes.length === 0) this.#server.on('upgrade', this.#onUpgrade);
    this.#routes.push(route);
  }

  delete(route: Route): void {
    const index = this.#routes.indexOf(route);
    if (index === -1) return;
    this.#routes.splice(index, 1);
    if (this.#routes.length === 0) this.#server.removeListener('upgrade', this.#onUpgrade);
  }

  readonly #onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const route = this.#routes.find((each) => each.matches(request));
    if (route !== undefined) route.upgrade(request, socket, head);
    else if (this.#server.listenerCount('upgrade') === 1) refuse(socket, 400);
    else this.#leave(socket);
  };

  /** To the other upgrade listeners. */
  #leave(socket: Duplex): void {
    const timeouts = this.#routes.map((route) => route.handshakeTimeout ?? 10_000);
    if (!timeouts.includes(0)) new Unclaimed(socket, Math.max(...timeouts));
  }
}

/** A socket that is left to the other upgrade listeners. If none of them answers it must not hang for ever. */
class Unclaimed implements Expirable {
  deadline: Expirable['deadline'] = null;
  readonly #socket: Duplex;
  readonly #listeners: number;
  readonly #written: number;

  constructor(socket: Duplex, timeout: number) {
    this.#socket = socket;
    this.#written = written(socket);
    socket.once('close', this.#forget);
    socket.on('error', () => socket.destroy());
    this.#listeners = listeners(socket);
    arm(this, timeout);
  }

  readonly #forget = (): void => disarm(this);

  expire(): void {
    const socket = this.#socket;
    const isUnclaimed = written(socket) === this.#written && listeners(socket) <= this.#listeners;
    socket.removeListener('close', this.#forget);
    if (isUnclaimed) refuse(socket, 400);
  }
}

function written(socket: Duplex): number {
  return 'bytesWritten' in socket ? Number(socket.bytesWritten) : 0;
}

/** Whoever has taken the socket listens to it. */
function listeners(socket: Duplex): number {
  return ['data', 'readable', 'end', 'close', 'error'].reduce((n, name) => n + socket.listenerCount(name), 0);
}

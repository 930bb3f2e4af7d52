/** What the gate knows of a request, for the interceptors behind it. */
import type { HandshakeRequest } from '../../server/transport.ts';
import { Logbook } from '../log.ts';
import type { Log } from '../options.ts';
import { clientAddress, trustedProxies } from './request.ts';

export interface Arrival {
  /** The client's address, as trusted proxies tell it; empty for who comes by a Unix socket. */
  address: string;
  /** The push server's. */
  log: Log;
}

const arrivals = new WeakMap<HandshakeRequest, Arrival>();
const NO_PROXIES = trustedProxies([]);
const CONSOLE = new Logbook('', undefined).log;

export function arrived(request: HandshakeRequest, arrival: Arrival): void {
  arrivals.set(request, arrival);
}

/** Where there is no gate, no proxy is believed. */
export function arrivalOf(request: HandshakeRequest): Arrival {
  return arrivals.get(request) ?? { address: clientAddress(request, NO_PROXIES), log: CONSOLE };
}

/** What comes and goes by one kind of transport: plain numbers, that connections add to as they read and write. */
import { TRANSPORT_KINDS, type TransportKind } from './transport.ts';

export class Traffic {
  /** Frames, those of control among them. */
  framesIn = 0;
  framesOut = 0;
  /** As they are on the connection: with the headers of frames and compressed, but without TLS, TCP and HTTP's own heads. */
  bytesIn = 0;
  bytesOut = 0;
}

/** By the kind of transport. */
export type Traffics = Readonly<Record<TransportKind, Traffic>>;

/** @param own those that somebody has already */
export function trafficByKind(own: Partial<Traffics>): Traffics {
  const all: Partial<Record<TransportKind, Traffic>> = {};
  for (const kind of TRANSPORT_KINDS) all[kind] = own[kind] ?? new Traffic();
  return all as Traffics;
}

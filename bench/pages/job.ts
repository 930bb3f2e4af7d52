/** What the generator of pages is asked to do and what it answers, as they cross the process border. */
import type { CpuTime } from '../proc.ts';

/** What a page speaks: bare messages, the push server's protocol with positions and acknowledgements, or Socket.IO. */
export type PageWire = 'plain' | 'tidings.1' | 'socket.io';
/** Through what messages are sent to the pages. */
export type SenderKind = 'push' | PushLife | 'ioredis' | 'socket.io' | 'socket.io-streams';
/** The push server's: to inboxes with marks; messages with a lifetime; with a key each; with one key, so that each replaces one. */
export type PushLife = 'push-marks' | 'push-ttl' | 'push-keys' | 'push-replaces';

export interface PageJob {
  scenario: 'user' | 'topic' | 'rest' | 'return' | 'visit';
  port: number;
  /** Of the handshake, without the user's name. */
  path: string;
  wire: PageWire;
  sender: SenderKind;
  /** A page that comes back gets what it has missed. */
  recovers: boolean;
  /** tidings.1: it has no device, and so acknowledges nothing. */
  isQuiet: boolean;
  /** URL of the Redis; empty for none. */
  redis: string;
  /** The server's processes, and those of Redis: their CPU time is told apart. */
  pids: number[];
  redisPids: number[];
  /** Pages open together; of visits: at a time. */
  pages: number;
  /** Messages a second. */
  rate: number;
  /** Bytes of a message, in JSON. */
  size: number;
  /** Milliseconds. */
  duration: number;
  /** The figures won't be read: a server that is not warm is no failure. */
  mayBeCold: boolean;
}

export interface PageResult {
  /** Deliveries; or pages. */
  count: number;
  /** Milliseconds. */
  elapsed: number;
  serverCpu: CpuTime;
  redisCpu: CpuTime;
  ownCpu: number;
  /** Milliseconds. */
  p50?: number;
  p99?: number;
  /** Bytes of resident memory of the server at the end, and before any page. */
  memory: number;
  memoryBefore?: number;
  /** With all pages open, before anything is asked to collect. */
  uncollected?: number;
  /** Bytes that Redis has more than before any page. */
  redisMemory?: number;
  /** How often Redis read from a connection, for a page that is alone. */
  roundTrips?: number;
}

/** What the load generator is asked to do and what it answers, as they cross the process border. */
import type { CpuTime } from '../proc.ts';
import type { Answers, Wire } from '../roster.ts';

export type ContentKind = 'text' | 'binary' | 'utf8' | 'json';

export interface Job {
  scenario: 'echo' | 'broadcast' | 'handshakes' | 'idle';
  /** Connections take turns with them. */
  ports: number[];
  /** Of the handshake's request. Default: what the wire wants. */
  path?: string;
  wire: Wire;
  /** The server's processes, whose CPU time and memory are read at both ends of the window. */
  pids: number[];
  conns: number;
  /** Messages outstanding, on each connection (echo) or in all (broadcast); handshakes: at a time. */
  depth: number;
  /** Payload bytes; of stored answers, those of the answer. */
  size: number;
  kind: ContentKind;
  /** Offer permessage-deflate as browsers do; answers may then be compressed. */
  deflate: boolean;
  /** How the server was told to answer. */
  answers: Answers;
  /** Milliseconds before the window, and of the window. */
  warmup: number;
  duration: number;
  /** Milliseconds between the last handshake and the first message of a broadcast. */
  settle: number;
  /** Connections of generators beside this one: their source addresses are not used again. */
  firstConnection: number;
  /** The figures won't be read: a server that is not warm is no failure. */
  mayBeCold: boolean;
  /** There are other generators: wait for all to be connected. */
  isPart: boolean;
}

export interface JobResult {
  /** Messages (echo), deliveries (broadcast), open-and-close pairs (handshakes) within the window. */
  messages: number;
  /** Milliseconds. */
  elapsed: number;
  serverCpu: CpuTime;
  /** Nanoseconds that the generator itself used. */
  ownCpu: number;
  /** Milliseconds. */
  p50: number;
  p99: number;
  /** Bytes of resident memory of the server: at the end, and for idle before any connection. */
  memory: number;
  memoryBefore: number;
}

export interface RespJob {
  /** A name of resp/clients.ts. */
  client: string;
  /** Redis'. */
  port: number;
  /** Payload bytes. */
  size: number;
  /** Commands outstanding. */
  depth: number;
  /** Milliseconds. */
  warmup: number;
  duration: number;
}

export interface RespResult {
  messages: number;
  /** Milliseconds. */
  elapsed: number;
  /** Microseconds of this process. */
  user: number;
  system: number;
}

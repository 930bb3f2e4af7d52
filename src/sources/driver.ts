/**
 * What a source is to the engine: a driver for each kind of it. A driver knows how to get messages and what becomes of them
 * there. All else is the engine's (source.ts): what a message says, order, trying again, limits, counting, the log.
 */

/** What a message of a source asks to be sent, by the names of the admin API: one of `user`, `users` and `topic`. */
export interface Sending {
  /** Store it in this user's inbox. */
  user?: string;
  /** In those of each of these, at most 10,000. */
  users?: readonly string[];
  /** In this topic. */
  topic?: string;
  /** A string, bytes, or anything that JSON can say. */
  data: unknown;
  /** Send it then: a Date, or milliseconds since 1970. Default: now. */
  at?: Date | number;
  /** Milliseconds after which it is gone. Default: it stays as long as others. */
  ttl?: number;
  /** As of `send`. */
  replaces?: string;
  /** Default: made of the id that the message has at the source. */
  idempotencyKey?: string;
  /** Milliseconds that the key is remembered. Default 24 hours. */
  idempotencyWindow?: number;
  /** The trace that it belongs to (W3C Trace Context). */
  traceparent?: string;
  /** Goes with `traceparent`. */
  tracestate?: string;
}

/** A message as the source has it. */
export interface SourceMessage {
  /** What tells it from all others of this source, the same each time that it comes. */
  readonly id: string;
  /** What it says. */
  readonly body: Buffer;
  /** What else the source says of it: headers, the routing key, a subject, columns. */
  readonly attributes: Readonly<Record<string, unknown>>;
  /** When it was written there, in milliseconds since 1970, where the source says so. */
  readonly time?: number;
}

/**
 * What has become of a message. `done`: it is stored, or was before, or nobody wants it: acknowledge it. `dead`: it can never
 * be stored: put it to the dead letters with this reason, and only then acknowledge it. `released`: it is not stored, and the
 * run is over: don't acknowledge it, so that it comes again.
 */
export type Outcome =
  | { readonly what: 'done' }
  | { readonly what: 'dead'; readonly reason: string }
  | { readonly what: 'released' };

/** Where a driver hands messages in, one for each run. */
export interface Intake {
  /** It is connected, and messages will come. */
  connected(): void;
  /**
   * Hands in a message. The order of the calls is the order in which messages for the same user or topic are stored. Never
   * throws or rejects, and always settles: at the latest when the run is over.
   */
  take(message: SourceMessage): Promise<Outcome>;
  /** The driver itself sees that a message can never be stored: it is counted and told here. What follows is as for `dead`. */
  dead(id: string, reason: string): void;
  /** The source itself has lost messages before they were read, as a stream that keeps only so many: it is counted and told. */
  missed(reason: string): void;
  /** The source itself may lose messages that were read, as one that hands each out only so often: it is told here. */
  endangered(reason: string): void;
  /** Room for so many more; 0 or below: none. To take more is no error, but a driver has to stop reading then. */
  readonly free: { readonly messages: number; readonly bytes: number };
  /** Resolves when there is room for a quarter of all again, or the run is over. */
  room(): Promise<void>;
  /** How many messages, and bytes of them, may be under way: for what the protocol has for that. */
  readonly prefetch: number;
  readonly prefetchBytes: number;
  /** Bytes. What is longer is no message: a driver that can see that first need not read it. */
  readonly maxBody: number;
}

export interface SourceDriver {
  /** `rabbitmq`, `nats`, `postgres`, `mysql`: a label of metrics. */
  readonly kind: string;
  /** For people and as a label of metrics: which queue or table, and where. Without user, password and query of its URL. */
  readonly name: string;
  /** Begins each idempotency key: the same on all instances, and another one for another queue or table. */
  readonly scope: string;
  /**
   * One connection, from connecting to its end. It hands in messages until
   *
   * - it is lost or refused: then it rejects, with an error that holds no secret, and is called again after a while. What was
   *   handed in and has not begun to be stored is released;
   * - `signal` is aborted: then it takes no more, waits for what becomes of the messages that it has handed in, acknowledges
   *   them, disconnects and resolves;
   * - it can never work: then it rejects with a SourceSetupError, which ends the source if it was never connected.
   *
   * Every wait in it has a bound. It leaves nothing open.
   */
  run(intake: Intake, signal: AbortSignal): Promise<void>;
  /** What a message says, where the default format is not what its body is. @throws {MessageError} */
  decode?(message: SourceMessage): Sending;
}

/** A source can't work until somebody has changed something: a package is missing, there is no such table. */
export class SourceSetupError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SourceSetupError';
  }
}

/** A message can never be sent. Its text is the reason that goes with it to the dead letters. */
export class MessageError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MessageError';
  }
}

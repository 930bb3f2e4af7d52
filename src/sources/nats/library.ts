/** As much of the packages `@nats-io/transport-node` and `@nats-io/jetstream` as is used here. */
import { loadPackage } from '../packages.ts';

export interface NatsHeaders {
  /** Of a message with which the server says something itself, such as 408; else 0. */
  readonly code: number;
  readonly description: string;
  keys(): string[];
  get(name: string): string;
  values(name: string): string[];
  append(name: string, value: string): void;
  delete(name: string): void;
  set(name: string, value: string): void;
}

export interface NatsMessage {
  readonly subject: string;
  readonly reply?: string;
  readonly data: Uint8Array;
  /** Throws where they have a name that the library does not take, which others may write. */
  readonly headers?: NatsHeaders;
}

/** As far as they can be read. */
export function headersOf(message: NatsMessage): NatsHeaders | undefined {
  try {
    return message.headers;
  } catch {
    // Not one of them can be had: the message is sent without.
    return undefined;
  }
}

export interface NatsSubscription {
  unsubscribe(): void;
  /** Resolves once all that was on its way was handed in. */
  drain(): Promise<void>;
}

export interface NatsConnection {
  readonly info?: { max_payload?: number; version?: string };
  closed(): Promise<Error | void>;
  close(): Promise<void>;
  flush(): Promise<void>;
  publish(subject: string, data?: string | Uint8Array, options?: { reply?: string }): void;
  subscribe(
    subject: string,
    options: { callback(error: Error | null, message: NatsMessage): void },
  ): NatsSubscription;
}

export interface NatsTransport {
  connect(options: object): Promise<NatsConnection>;
  credsAuthenticator(creds: Uint8Array): unknown;
  createInbox(): string;
  headers(): NatsHeaders;
}

export interface StreamInfo {
  created: string;
  config: { retention: string };
  state: { first_seq: number; last_seq: number };
}

export interface ConsumerInfo {
  config: {
    ack_policy: string;
    /** Nanoseconds. */
    ack_wait?: number;
    /** How often a message is handed out; -1: as often as it takes. */
    max_deliver?: number;
    deliver_subject?: string;
    max_ack_pending?: number;
    filter_subject?: string;
    filter_subjects?: string[];
  };
  delivered: { consumer_seq: number; stream_seq: number };
  ack_floor: { consumer_seq: number; stream_seq: number };
  num_ack_pending: number;
}

export interface JetStreamManager {
  streams: {
    info(stream: string): Promise<StreamInfo>;
    add(config: object): Promise<unknown>;
  };
  consumers: {
    info(stream: string, consumer: string): Promise<ConsumerInfo>;
    add(stream: string, config: object): Promise<ConsumerInfo>;
  };
}

export interface JetStream {
  publish(subject: string, data: Uint8Array, options: object): Promise<unknown>;
}

export interface JetStreamPackage {
  jetstream(connection: NatsConnection, options?: object): JetStream;
  jetstreamManager(connection: NatsConnection, options?: object): Promise<JetStreamManager>;
}

export interface NatsLibrary {
  readonly transport: NatsTransport;
  readonly jetstream: JetStreamPackage;
}

/** @throws {SourceSetupError} saying what to install */
export async function loadNats(): Promise<NatsLibrary> {
  const transport = await loadPackage<NatsTransport>(
    '@nats-io/transport-node',
    'NATS',
    ({ connect }) => typeof connect === 'function',
    '@nats-io/transport-node @nats-io/jetstream',
  );
  const jetstream = await loadPackage<JetStreamPackage>(
    '@nats-io/jetstream',
    'NATS JetStream',
    ({ jetstreamManager }) => typeof jetstreamManager === 'function',
  );
  return { transport, jetstream };
}

/**
 * A message on its way to sessions. Each wire form is made once, when the first session needs it, and
 * shared by all that follow.
 */
import { isUtf8 } from 'node:buffer';
import type { PayloadKind, Position, StoredKind, StoredMessage } from '../../pubsub/store/broker.ts';
import { PreparedMessage } from '../../server/prepared-message.ts';
import { type Decode, decodeData, type Payload } from '../payload.ts';
import { isInbox, wireName } from '../talk/names.ts';
import { INBOX, type ServerFrame, type WirePosition } from '../talk/wire.ts';
import type { References } from './references.ts';

const INBOX_JSON = JSON.stringify(INBOX);

const EMPTY = Buffer.alloc(0);

/** What a transport's `send` takes. */
export type Frame = string | Buffer;

/** A message as the application gets it back. */
export interface Content extends Position {
  time: number;
  data: unknown;
  reference?: string;
  unresolved?: true;
  expires?: number;
}

export class Outgoing implements Position {
  readonly epoch: string;
  readonly offset: number;
  readonly id: string;
  /** What of its trace it belongs to here, once its doorbell has come: a context of OpenTelemetry. */
  context: object | undefined;
  /** To how many pages writing it was traced. */
  traced = 0;
  #stored: StoredMessage;
  #lookup: Promise<void> | undefined;
  #resolved: Payload | undefined;
  #plain: Frame | undefined;
  #wire: string | undefined;
  #prepared: PreparedMessage | undefined;

  constructor(stored: StoredMessage) {
    this.epoch = stored.epoch;
    this.offset = stored.offset;
    this.id = stored.id;
    this.#stored = stored;
  }

  /** When it was stored, in milliseconds since 1970 by the store's clock. */
  get time(): number {
    return this.#stored.time;
  }

  /** See `StoredMessage`. */
  get trace(): string | undefined {
    return this.#stored.trace;
  }

  /** Bytes of what was stored, or of what it stands for. */
  get size(): number {
    return (this.#resolved?.bytes ?? this.#stored.payload).length;
  }

  /** Without the payload, to be kept. */
  get place(): Position {
    return { epoch: this.epoch, offset: this.offset, id: this.id };
  }

  /** The application's key, in a message by reference. */
  get reference(): string | undefined {
    return this.#stored.kind === 'reference' ? this.#stored.payload.toString() : undefined;
  }

  /** It was withdrawn, or the like, before it was sent to all. */
  erase(): void {
    if (this.#stored.kind === 'gone') return;
    const { expires: _, trace: __, ...stored } = this.#stored;
    this.#stored = { ...stored, kind: 'gone', payload: EMPTY };
    this.#resolved = undefined;
    this.#plain = undefined;
    this.#wire = undefined;
    this.#prepared = undefined;
  }

  /** What has to be awaited before the message can be sent, if anything. Never rejects. */
  get lookup(): Promise<void> | undefined {
    return this.#lookup;
  }

  /** Begins to look up what a reference stands for. */
  prepare(references: References | undefined): void {
    if (this.#stored.kind !== 'reference') return;
    this.#lookup = references?.load(this.#stored.payload.toString()).then((resolved) => {
      this.#resolved = resolved?.payload;
      this.#lookup = undefined;
    });
  }

  /** As plain mode has it; `undefined` where there is nothing to send. */
  get plain(): Frame | undefined {
    if (this.#plain !== undefined) return this.#plain;
    const { kind, payload } = this.#payload();
    if (kind === 'reference' || kind === 'gone') return undefined;
    this.#plain = kind === 'binary' ? payload : payload.toString();
    return this.#plain;
  }

  /** As `tidings.1` has it. */
  get wire(): string {
    this.#wire ??= this.#encode();
    return this.#wire;
  }

  /** `wire`, to be shared by many connections. */
  get prepared(): PreparedMessage {
    this.#prepared ??= new PreparedMessage(this.wire);
    return this.#prepared;
  }

  /** For the application. */
  content(decode: Decode = decodeData): Content {
    const { epoch, offset, id, time, expires } = this.#stored;
    const { kind, payload } = this.#payload();
    const { reference } = this;
    const isUnresolved = kind === 'reference';
    return {
      epoch,
      offset,
      id,
      time,
      data: isUnresolved ? null : decode(kind, payload),
      ...(reference !== undefined && { reference }),
      ...(isUnresolved && { unresolved: true }),
      ...(expires !== undefined && { expires }),
    };
  }

  #payload(): { kind: StoredKind; payload: Buffer } {
    if (this.#stored.kind !== 'reference' || this.#resolved === undefined) return this.#stored;
    const { kind, bytes } = this.#resolved;
    return { kind, payload: bytes };
  }

  #encode(): string {
    const { channel } = this.#stored;
    const name = isInbox(channel) ? INBOX_JSON : JSON.stringify(channel);
    return `{"type":"message","channel":${name},${this.body}}`;
  }

  /** The fields of the wire form but for `type` and `channel`. */
  get body(): string {
    const { epoch, offset, id, time, expires } = this.#stored;
    const { kind, payload } = this.#payload();
    const head =
      `"epoch":${JSON.stringify(epoch)},"offset":${offset},"id":${JSON.stringify(id)},"time":${time},` +
      (expires === undefined ? '' : `"expires":${expires},`);
    const key = this.reference;
    const tail = key === undefined ? '' : `,"reference":${JSON.stringify(key)}`;
    if (kind === 'gone') return `${head}"gone":true,"data":null`;
    if (kind === 'reference') return `${head}"data":null,"unresolved":true${tail}`;
    return `${head}${dataField(kind, payload)}${tail}`;
  }
}

/**
 * A payload that no log keeps, in both wire forms. What it was before it went through the store is not
 * known: an object or an array in JSON counts as that, other text as a string.
 */
export class OutgoingTransient {
  readonly plain: Frame;
  readonly #channel: string;
  readonly #payload: Buffer;
  #wire: string | undefined;
  #prepared: PreparedMessage | undefined;

  constructor(channel: string, payload: Buffer) {
    this.#channel = channel;
    this.#payload = payload;
    this.plain = isUtf8(payload) ? payload.toString() : payload;
  }

  get wire(): string {
    this.#wire ??=
      `{"type":"transient","channel":${JSON.stringify(wireName(this.#channel))},` +
      `${dataField(this.#kind(), this.#payload)}}`;
    return this.#wire;
  }

  /** `wire`, to be shared by many connections. */
  get prepared(): PreparedMessage {
    this.#prepared ??= new PreparedMessage(this.wire);
    return this.#prepared;
  }

  #kind(): PayloadKind {
    if (typeof this.plain !== 'string') return 'binary';
    const first = this.plain.trimStart()[0];
    return (first === '{' || first === '[') && isJson(this.plain) ? 'json' : 'text';
  }
}

export function encodeFrame(frame: ServerFrame): string {
  return JSON.stringify(frame);
}

/** Without the other fields that an object with a position may have. */
export function wirePosition({ epoch, offset, id }: Position): WirePosition {
  return { epoch, offset, id };
}

/** What is JSON by its kind was checked before it was stored: it goes into a frame as it is. */
function dataField(kind: PayloadKind, payload: Buffer): string {
  if (kind === 'binary') return `"data":"${payload.toString('base64')}","encoding":"base64"`;
  const text = payload.toString();
  return `"data":${kind === 'json' ? text : JSON.stringify(text)}`;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // It only begins like JSON.
    return false;
  }
}

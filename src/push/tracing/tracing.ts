/**
 * The way of a message as spans of OpenTelemetry: it is sent and stored, its doorbell comes, it is written to pages, and
 * they acknowledge it. The context of `send` is stored with the message, so that all of it is one trace, on whatever
 * instance and however much later. Nothing here keeps a span open that waits for somebody else.
 */
import type { Position, Receipt, StoredMessage } from '../../pubsub/store/broker.ts';
import { VERSION } from '../../version.ts';
import type { Outgoing } from '../delivery/outgoing.ts';
import { explain } from '../explain.ts';
import { isInbox } from '../talk/names.ts';
import type { Trouble } from '../trouble.ts';
import {
  isOpenTelemetry,
  loadOpenTelemetry,
  type OpenTelemetry,
  type OtelContext,
  type OtelSpan,
  type OtelSpanContext,
  type OtelSpanOptions,
} from './otel.ts';
import { decodeTrace, encodeTrace, parseTrace, type TraceContext } from './trace-context.ts';

/** Numbers of `SpanKind` and `SpanStatusCode`, which are part of the API's contract. */
const Kind = { client: 2, producer: 3, consumer: 4 } as const;
const FAILED = 2;

/** Written messages whose acknowledgement would be traced, over all devices, and of one. */
const MAX_WAITING = 10_000;
const MAX_WAITING_OF_ONE = 100;
/** Pages to which writing one message is traced one by one, on one instance. */
const MAX_PAGES = 100;

/** The trace that a caller names for what he sends. */
export interface TraceSettings {
  traceparent?: string | undefined;
  tracestate?: string | undefined;
}

type Operation = 'send' | 'store' | 'schedule' | 'receive' | 'deliver' | 'ack';
const TYPES: Partial<Record<Operation, string>> = {
  send: 'send',
  schedule: 'create',
  receive: 'receive',
  deliver: 'process',
  ack: 'settle',
};

/** To whom a message is written. */
export interface Reader {
  readonly id: string;
  readonly user: string;
  readonly device: string | undefined;
  readonly isTidings: boolean;
}

interface Written {
  offset: number;
  epoch: string;
  id: string;
  channel: string;
  creation: OtelSpanContext;
  context: OtelContext;
  time: number;
}

/** A message on its way into the store. */
export interface Sending {
  /** To be stored with it. */
  readonly trace: string | undefined;
  stored(receipt: Receipt): void;
  scheduled(id: string): void;
  failed(error: unknown): void;
}

/** The same of one message for many. */
export interface Batch {
  readonly trace: string | undefined;
  ended(sum: { sent: number; duplicates: number; failed: number }): void;
  failed(error: unknown): void;
}

/** What stands for the inboxes of many. */
const MANY = 'user:*';

export class Tracing {
  /** Undefined while it is off, or not loaded. */
  #api: OpenTelemetry | undefined;
  #tracer: ReturnType<OpenTelemetry['trace']['getTracer']> | undefined;
  readonly #instance: string;
  readonly #trouble: Trouble;
  /** By inbox and device, in the order in which they were written. */
  readonly #waiting = new Map<string, Written[]>();
  #waitingCount = 0;
  /** Resolves when it is loaded. */
  readonly ready: Promise<void>;

  /** @throws {TypeError} for what is no OpenTelemetry */
  constructor(option: boolean | OpenTelemetry | undefined, instance: string, trouble: Trouble) {
    this.#instance = instance;
    this.#trouble = trouble;
    this.ready = Promise.resolve();
    if (option === true) {
      this.ready = loadOpenTelemetry().then((api) => this.#begin(api));
      // Whoever waits for the push server to be ready is told.
      this.ready.catch(() => {});
    } else if (option !== undefined && option !== false) {
      if (!isOpenTelemetry(option))
        throw new TypeError('tracing must be true, or the module @opentelemetry/api');
      this.#begin(option);
    }
  }

  #begin(api: OpenTelemetry): void {
    this.#tracer = api.trace.getTracer('tidings', VERSION);
    this.#api = api;
  }

  // ── the way in ─────────────────────────────────────────────────────────────────────────────────

  /**
   * A message is about to be stored, or to be scheduled.
   *
   * @param trace what was stored with it when it was scheduled
   * @param isLater it was handed over before, and is nothing of what is going on now
   * @returns undefined where there is nothing to trace
   */
  send(
    operation: 'send' | 'schedule',
    channel: string,
    size: number,
    { traceparent, tracestate, trace }: TraceSettings & { trace?: string | undefined },
    isLater: boolean,
  ): Sending | undefined {
    const given = trace === undefined ? parseTrace(traceparent, tracestate) : decodeTrace(trace);
    if (this.#api === undefined) return given?.isSampled ? passed(encodeTrace(given)) : undefined;
    return this.#guarded(() => this.#send(this.#api!, operation, channel, size, given, isLater));
  }

  #send(
    api: OpenTelemetry,
    operation: 'send' | 'schedule',
    channel: string,
    size: number,
    given: TraceContext | undefined,
    isLater: boolean,
  ): Sending {
    const parent = isLater && given === undefined ? api.ROOT_CONTEXT : this.#parentOf(given, isLater);
    const links = isLater && given !== undefined ? { links: [{ context: this.#spanContextOf(given) }] } : {};
    const span = this.#start(operation, channel, Kind.producer, parent, links, {
      'messaging.message.body.size': size,
    });
    const creation = span.spanContext();
    const within = api.trace.setSpan(parent as never, span as never);
    const storing = operation === 'send' ? this.#start('store', channel, Kind.client, within) : undefined;
    return {
      trace: storedForm(creation),
      stored: ({ id, offset, epoch, duplicate }) =>
        this.#guarded(() => {
          if (storing !== undefined) this.#end(storing);
          span.setAttribute('messaging.message.id', id);
          span.setAttribute('tidings.offset', offset);
          span.setAttribute('tidings.epoch', epoch);
          if (duplicate) span.setAttribute('tidings.duplicate', true);
          this.#end(span);
        }),
      scheduled: (id) =>
        this.#guarded(() => {
          span.setAttribute('tidings.scheduled.id', id);
          this.#end(span);
        }),
      failed: (error) =>
        this.#guarded(() => {
          if (storing !== undefined) this.#endFailed(storing, error);
          this.#endFailed(span, error);
        }),
    };
  }

  /** One message is about to be sent to many. All of them get its trace. */
  sendMany(size: number, settings: TraceSettings): Batch | undefined {
    const given = parseTrace(settings.traceparent, settings.tracestate);
    const api = this.#api;
    if (api === undefined) {
      return given?.isSampled ? { trace: encodeTrace(given), ended() {}, failed() {} } : undefined;
    }
    return this.#guarded(() => {
      const parent = this.#parentOf(given, false);
      const attributes = { 'messaging.message.body.size': size };
      const span = this.#start('send', MANY, Kind.producer, parent, {}, attributes);
      return {
        trace: storedForm(span.spanContext()),
        ended: ({ sent, duplicates, failed }) =>
          this.#guarded(() => {
            span.setAttribute('messaging.batch.message_count', sent + duplicates + failed);
            if (failed > 0) span.setStatus({ code: FAILED, message: `${failed} of them were not stored` });
            this.#end(span);
          }),
        failed: (error) => this.#guarded(() => this.#endFailed(span, error)),
      };
    });
  }

  // ── the way out ────────────────────────────────────────────────────────────────────────────────

  /** The doorbell of a message has come: what is delivered by it belongs to that. */
  received(stored: StoredMessage, message: Outgoing): void {
    if (this.#api === undefined) return;
    this.#guarded(() => {
      const span = this.#consume('receive', stored.channel, message);
      if (span !== undefined) this.#end(span);
    });
  }

  /** It was written to a page. */
  delivered(channel: string, message: Outgoing, reader: Reader, isLive: boolean): void {
    if (this.#api === undefined || message.traced >= MAX_PAGES) return;
    this.#guarded(() => {
      message.traced++;
      const { id, user, isTidings } = reader;
      const span = this.#consume('deliver', channel, message, {
        'tidings.session': id,
        'tidings.user': user,
        'tidings.mode': isTidings ? 'tidings.1' : 'plain',
        'tidings.recovered': !isLive,
      });
      if (span === undefined) return;
      this.#end(span);
      if (isTidings && isInbox(channel)) this.#await(channel, message, reader, span);
    });
  }

  /** It was written to so many pages together. */
  published(channel: string, message: Outgoing, pages: number): void {
    if (this.#api === undefined || pages === 0) return;
    this.#guarded(() => {
      const span = this.#consume('deliver', channel, message, { 'tidings.sessions': pages });
      if (span !== undefined) this.#end(span);
    });
  }

  /** A device has everything up to this position. */
  acknowledged(channel: string, device: string, { epoch, offset }: Position): void {
    if (this.#waiting.size === 0) return;
    const key = keyOf(channel, device);
    const written = this.#waiting.get(key);
    if (written === undefined) return;
    this.#guarded(() => {
      const left = written.filter((each) => {
        if (each.epoch !== epoch) return false;
        if (each.offset > offset) return true;
        const links = { links: [{ context: each.creation }], startTime: each.time };
        const attributes = { 'messaging.message.id': each.id, 'tidings.offset': each.offset };
        this.#end(this.#start('ack', channel, Kind.consumer, each.context, links, attributes));
        return false;
      });
      this.#waitingCount += left.length - written.length;
      if (left.length === 0) this.#waiting.delete(key);
      else this.#waiting.set(key, left);
    });
  }

  #consume(
    operation: 'receive' | 'deliver',
    channel: string,
    message: Outgoing,
    attributes: OtelSpanOptions['attributes'] = {},
  ): OtelSpan | undefined {
    const trace = decodeTrace(message.trace!);
    if (trace === undefined) return undefined;
    const creation = this.#spanContextOf(trace);
    const parent = message.context ?? this.#contextOf(trace);
    const span = this.#start(
      operation,
      channel,
      Kind.consumer,
      parent,
      { links: [{ context: creation }] },
      {
        ...attributes,
        'messaging.message.id': message.id,
        'tidings.offset': message.offset,
        'tidings.epoch': message.epoch,
      },
    );
    if (operation === 'receive') message.context = this.#api!.trace.setSpan(parent as never, span as never);
    return span;
  }

  /** What is never acknowledged makes room for what comes later. */
  #await(channel: string, { epoch, offset, id, trace }: Outgoing, { device }: Reader, span: OtelSpan): void {
    if (device === undefined) return;
    const { ROOT_CONTEXT, trace: api } = this.#api!;
    const key = keyOf(channel, device);
    const written = this.#waiting.get(key) ?? [];
    this.#waiting.delete(key);
    this.#waiting.set(key, written);
    written.push({
      channel,
      epoch,
      offset,
      id,
      creation: this.#spanContextOf(decodeTrace(trace!)!),
      context: api.setSpan(ROOT_CONTEXT as never, span as never),
      time: Date.now(),
    });
    this.#waitingCount++;
    if (written.length > MAX_WAITING_OF_ONE) {
      written.shift();
      this.#waitingCount--;
    }
    while (this.#waitingCount > MAX_WAITING) {
      const [oldest, lost] = this.#waiting.entries().next().value!;
      this.#waiting.delete(oldest);
      this.#waitingCount -= lost.length;
    }
  }

  #start(
    operation: Operation,
    channel: string,
    kind: number,
    parent: OtelContext,
    options: Partial<OtelSpanOptions> = {},
    attributes: OtelSpanOptions['attributes'] = {},
  ): OtelSpan {
    const type = TYPES[operation];
    const template = isInbox(channel) ? 'user:{user}' : 'topic';
    const about = {
      'messaging.system': 'tidings',
      'messaging.operation.name': operation,
      ...(type !== undefined && { 'messaging.operation.type': type }),
      'messaging.destination.name': channel,
      'messaging.destination.template': template,
      'messaging.client.id': this.#instance,
      ...attributes,
    };
    const all: OtelSpanOptions = { kind, ...options, attributes: about };
    return this.#tracer!.startSpan(`${operation} ${template}`, all as never, parent as never);
  }

  #spanContextOf({ traceId, spanId, isSampled, state }: TraceContext): OtelSpanContext {
    const context = { traceId, spanId, traceFlags: isSampled ? 1 : 0, isRemote: true };
    return state === undefined ? context : { ...context, traceState: this.#api!.createTraceState(state) };
  }

  /** The active span counts where none was given, and where it is of the trace that was given, as then it is nearer. */
  #parentOf(given: TraceContext | undefined, isLater: boolean): OtelContext {
    const { context, trace } = this.#api!;
    const active = context.active();
    if (given === undefined) return active;
    const isNearer = !isLater && trace.getSpanContext(active as never)?.traceId === given.traceId;
    return isNearer ? active : this.#contextOf(given);
  }

  #contextOf(trace: TraceContext): OtelContext {
    const { trace: api, ROOT_CONTEXT } = this.#api!;
    return api.setSpanContext(ROOT_CONTEXT as never, this.#spanContextOf(trace) as never);
  }

  #endFailed(span: OtelSpan, error: unknown): void {
    const thrown = error instanceof Error ? error : new Error(explain(error));
    span.recordException(thrown);
    span.setStatus({ code: FAILED, message: explain(error) });
    span.setAttribute('error.type', thrown.name);
    this.#end(span);
  }

  /** Only now it is known to have worked: processors get a span at its end, too. */
  #end(span: OtelSpan): void {
    span.end();
    this.#trouble.worked();
  }

  /** Whatever OpenTelemetry or one of its processors throws ends no message. */
  #guarded<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#trouble.failed(error);
      return undefined;
    }
  }
}

/** Nothing is traced here, but what was given is there for other instances. */
function passed(trace: string): Sending {
  return { trace, stored() {}, scheduled() {}, failed() {} };
}

/** Undefined where nobody would look at it. */
function storedForm({ traceId, spanId, traceFlags, traceState }: OtelSpanContext): string | undefined {
  const flags = (traceFlags & 1) === 1 ? '01' : '00';
  const trace = parseTrace(`00-${traceId}-${spanId}-${flags}`, traceState?.serialize());
  return trace?.isSampled ? encodeTrace(trace) : undefined;
}

function keyOf(channel: string, device: string): string {
  return `${device}\n${channel}`;
}

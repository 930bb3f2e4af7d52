/**
 * The half of `WebSocket` that a browser's has: `addEventListener`, `onmessage` and their like, and the event
 * objects that they hand out, on top of an EventEmitter of whatever class.
 */
import type { EventEmitter } from 'node:events';

export class Event<T = unknown> {
  readonly type: string;
  readonly target: T;

  constructor(type: string, target: T) {
    this.type = type;
    this.target = target;
  }
}

export class MessageEvent<T = unknown, D = unknown> extends Event<T> {
  /** A string for text; for binary what `binaryType` says. */
  readonly data: D;

  constructor(target: T, data: D) {
    super('message', target);
    this.data = data;
  }
}

export class CloseEvent<T = unknown> extends Event<T> {
  readonly code: number;
  readonly reason: string;
  /** Both close frames were exchanged. */
  readonly wasClean: boolean;

  constructor(target: T, code: number, reason: string, wasClean: boolean) {
    super('close', target);
    this.code = code;
    this.reason = reason;
    this.wasClean = wasClean;
  }
}

export class ErrorEvent<T = unknown> extends Event<T> {
  /** An Error. It may have a `code`. */
  // biome-ignore lint/suspicious/noExplicitAny: as in the types of ws, whose users read what they like of it
  readonly error: any;
  readonly message: string;

  constructor(target: T, error: Error) {
    super('error', target);
    this.error = error;
    this.message = error.message;
  }
}

/** Of `addEventListener`. */
export interface EventListenerOptions {
  /** Removes the listener after its first event. Default false. */
  once?: boolean | undefined;
}

export interface EventMap<T, D> {
  open: Event<T>;
  message: MessageEvent<T, D>;
  close: CloseEvent<T>;
  error: ErrorEvent<T>;
}

export type EventListener<E> = ((event: E) => void) | { handleEvent(event: E): void };

type EventName = keyof EventMap<never, never>;
const EVENT_NAMES: readonly string[] = ['open', 'message', 'close', 'error'] satisfies EventName[];

/** Makes the event object of an event, from what the emitter's listeners get. */
type MakeEvent = (target: unknown, first: unknown, second: unknown) => Event;
const makeEvent: Record<EventName, MakeEvent> = {
  open: (target) => new Event('open', target),
  message: (target, data, isBinary) => new MessageEvent(target, isBinary ? data : String(data)),
  close: (target, code, reason) => {
    const { [kWasClean]: wasClean = false } = target as { [kWasClean]?: boolean };
    return new CloseEvent(target, code as number, String(reason), wasClean);
  },
  error: (target, error) => new ErrorEvent(target, error as Error),
};

/** Of a target: both close frames were exchanged. */
export const kWasClean = Symbol('was clean');
/** The listener of the application's behind one on the emitter. */
const kListener = Symbol('listener');
/** It was set as `onopen` and so on, not with addEventListener. */
const kIsAttribute = Symbol('is attribute');

interface Wrapper {
  (first: unknown, second: unknown): void;
  [kListener]: unknown;
  [kIsAttribute]: boolean;
}

export function addEventListener(
  target: EventEmitter,
  type: string,
  listener: EventListener<never>,
  once: boolean,
): void {
  if (!isEventName(type) || findWrapper(target, type, listener) !== undefined) return;
  const wrapper = wrap(type, listener, false);
  if (once) target.once(type, wrapper);
  else target.on(type, wrapper);
}

export function removeEventListener(
  target: EventEmitter,
  type: string,
  listener: EventListener<never>,
): void {
  if (!isEventName(type)) return;
  const wrapper = findWrapper(target, type, listener);
  if (wrapper !== undefined) target.removeListener(type, wrapper);
}

/** Gives a prototype `onopen`, `onmessage`, `onclose` and `onerror`, enumerable as in a browser. */
export function defineEventAttributes(prototype: EventEmitter): void {
  for (const type of EVENT_NAMES as readonly EventName[]) {
    Object.defineProperty(prototype, `on${type}`, {
      configurable: true,
      enumerable: true,
      get(this: EventEmitter): unknown {
        return findAttribute(this, type)?.[kListener] ?? null;
      },
      set(this: EventEmitter, listener: unknown) {
        const old = findAttribute(this, type);
        if (old !== undefined) this.removeListener(type, old);
        if (typeof listener === 'function') this.on(type, wrap(type, listener as () => void, true));
      },
    });
  }
}

function isEventName(type: string): type is EventName {
  return EVENT_NAMES.includes(type);
}

/** The emitter's listener that calls `listener` with the event object. */
function wrap(type: EventName, listener: EventListener<never>, isAttribute: boolean): Wrapper {
  const make = makeEvent[type];
  const each = listener as EventListener<Event>;
  const wrapper = function (this: unknown, first: unknown, second: unknown): void {
    const event = make(this, first, second);
    if (typeof each === 'function') each.call(this, event);
    else each.handleEvent(event);
  };
  return Object.assign(wrapper, { [kListener]: listener, [kIsAttribute]: isAttribute });
}

/** The one made for `listener`. */
function findWrapper(target: EventEmitter, type: EventName, listener: unknown): Wrapper | undefined {
  return wrappers(target, type).find((each) => each[kListener] === listener && each[kIsAttribute] === false);
}

/** The one that was set as an attribute. */
function findAttribute(target: EventEmitter, type: EventName): Wrapper | undefined {
  return wrappers(target, type).find((each) => each[kIsAttribute] === true);
}

/** The listeners, among which others than wrappers have neither of the symbols. */
function wrappers(target: EventEmitter, type: EventName): Wrapper[] {
  return target.listeners(type) as Wrapper[];
}

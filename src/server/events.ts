/** The event objects that `addEventListener` and `onmessage` hand out, as a browser's WebSocket does. */
import type { RawData, WebSocket } from './websocket.ts';

/** A message as `MessageEvent` gives it: text is a string. */
export type Data = string | RawData;

export class Event {
  readonly type: string;
  readonly target: WebSocket;

  constructor(type: string, target: WebSocket) {
    this.type = type;
    this.target = target;
  }
}

export class MessageEvent extends Event {
  /** A string for text; for binary what `binaryType` says. */
  readonly data: Data;

  constructor(target: WebSocket, data: Data) {
    super('message', target);
    this.data = data;
  }
}

export class CloseEvent extends Event {
  readonly code: number;
  readonly reason: string;
  /** Both close frames were exchanged. */
  readonly wasClean: boolean;

  constructor(target: WebSocket, code: number, reason: string, wasClean: boolean) {
    super('close', target);
    this.code = code;
    this.reason = reason;
    this.wasClean = wasClean;
  }
}

export class ErrorEvent extends Event {
  /** An Error. It may have a `code`. */
  // biome-ignore lint/suspicious/noExplicitAny: as in the types of ws, whose users read what they like of it
  readonly error: any;
  readonly message: string;

  constructor(target: WebSocket, error: Error) {
    super('error', target);
    this.error = error;
    this.message = error.message;
  }
}

/** Of `addEventListener`. */
export interface EventListenerOptions {
  once?: boolean | undefined;
}

export interface WebSocketEventMap {
  open: Event;
  message: MessageEvent;
  close: CloseEvent;
  error: ErrorEvent;
}

export type EventListener<E> = ((event: E) => void) | { handleEvent(event: E): void };

/** The object's own listener behind a listener on the emitter. */
const kListener = Symbol('listener');
/** It was set as `onopen` and so on, not with addEventListener. */
const kIsAttribute = Symbol('is attribute');

interface Wrapper {
  (...args: unknown[]): void;
  [kListener]: EventListener<never>;
  [kIsAttribute]: boolean;
}

type EventName = keyof WebSocketEventMap;

/** Makes an emitter's listener that calls `listener` with the event object of this name. */
export function wrapListener(
  name: EventName,
  listener: EventListener<never>,
  isAttribute: boolean,
  wasClean: (target: WebSocket) => boolean,
): Wrapper {
  const call = (target: WebSocket, event: Event): void => {
    const each = listener as EventListener<Event>;
    if (typeof each === 'function') each.call(target, event);
    else each.handleEvent(event);
  };
  let wrapper: (...args: unknown[]) => void;
  if (name === 'message') {
    wrapper = function (this: WebSocket, data: RawData, isBinary: boolean) {
      call(this, new MessageEvent(this, isBinary ? data : data.toString()));
    } as typeof wrapper;
  } else if (name === 'close') {
    wrapper = function (this: WebSocket, code: number, reason: Buffer) {
      call(this, new CloseEvent(this, code, reason.toString(), wasClean(this)));
    } as typeof wrapper;
  } else if (name === 'error') {
    wrapper = function (this: WebSocket, error: Error) {
      call(this, new ErrorEvent(this, error));
    } as typeof wrapper;
  } else {
    wrapper = function (this: WebSocket) {
      call(this, new Event('open', this));
    } as typeof wrapper;
  }
  return Object.assign(wrapper, { [kListener]: listener, [kIsAttribute]: isAttribute });
}

/** Among an emitter's listeners, the one made for `listener`. */
export function findWrapper(listeners: readonly unknown[], listener: unknown): Wrapper | undefined {
  return listeners.find((each): each is Wrapper => {
    const wrapper = each as Partial<Wrapper>;
    return wrapper[kListener] === listener && wrapper[kIsAttribute] === false;
  });
}

/** Among an emitter's listeners, the one set as an attribute, with what was set. */
export function findAttribute(
  listeners: readonly unknown[],
): { wrapper: Wrapper; listener: EventListener<never> } | undefined {
  for (const each of listeners) {
    const wrapper = each as Partial<Wrapper>;
    if (wrapper[kIsAttribute] === true) {
      return { wrapper: wrapper as Wrapper, listener: wrapper[kListener]! };
    }
  }
  return undefined;
}

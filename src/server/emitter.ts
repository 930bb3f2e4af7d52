/**
 * An EventEmitter that knows its own events: a listener's arguments and its `this` have types. It lets other
 * events by, so that a subclass can have some of its own, and so that what was written for ws compiles.
 */
import { EventEmitter } from 'node:events';

type Method =
  | 'on'
  | 'once'
  | 'off'
  | 'addListener'
  | 'removeListener'
  | 'prependListener'
  | 'prependOnceListener'
  | 'emit';

// biome-ignore lint/suspicious/noExplicitAny: of an event that is not ours nothing is known
type Whatever = any[];

/** `E` maps each event to the arguments of its listeners. */
export interface TypedEmitter<E extends { [K in keyof E]: unknown[] }> extends Omit<EventEmitter, Method> {
  /** As that of EventEmitter, for an event of ours. */
  on<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  on(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  once<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  once(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  off<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  off(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  addListener<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  addListener(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  removeListener<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  removeListener(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  prependListener<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  prependListener(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  prependOnceListener<K extends keyof E>(event: K, listener: (this: this, ...args: E[K]) => void): this;
  /** As that of EventEmitter, for any other event. */
  prependOnceListener(event: string | symbol, listener: (this: this, ...args: Whatever) => void): this;
  /** As that of EventEmitter, for an event of ours. */
  emit<K extends keyof E>(event: K, ...args: E[K]): boolean;
  /** As that of EventEmitter, for any other event. */
  emit(event: string | symbol, ...args: Whatever): boolean;
}

/** EventEmitter itself: only its type is another. */
export const TypedEmitter = EventEmitter as unknown as Omit<typeof EventEmitter, 'prototype'> & {
  new <E extends { [K in keyof E]: unknown[] }>(): TypedEmitter<E>;
};

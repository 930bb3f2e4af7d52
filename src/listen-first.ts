/**
 * Seeing the events of somebody else's server before its listeners do. A listener would not do: it can't keep
 * an event from the others, some events change their meaning by having a listener, and one that was added with
 * `once` is gone from the list before those behind it are called.
 */
import type { EventEmitter } from 'node:events';

/** @returns whether the event ends here, so that the listeners don't get it */
export type Look = (event: string | symbol, args: unknown[]) => boolean;

type Emit = (this: EventEmitter, event: string | symbol, ...args: unknown[]) => boolean;
interface Watch {
  emit: Emit;
  /** The latest comes first. */
  looks: readonly Look[];
}

/** The outermost of each server. */
const watches = new WeakMap<EventEmitter, Watch>();

/** @returns undoes it at once, whoever has wrapped `server.emit` in the meantime */
export function listenFirst(server: EventEmitter, look: Look): () => void {
  let watch = watches.get(server);
  // Where somebody has wrapped ours, or put it away, a new one goes in front of theirs.
  if (watch === undefined || server.emit !== watch.emit) {
    watch = wrap(server);
    watches.set(server, watch);
  }
  const joined = watch;
  joined.looks = [look, ...joined.looks];
  return () => {
    joined.looks = joined.looks.filter((each) => each !== look);
    // Whoever has wrapped it after us still calls ours, which then only passes on.
    if (joined.looks.length === 0 && server.emit === joined.emit) unwrap(server);
  };
}

const kBefore = Symbol('before');

function wrap(server: EventEmitter): Watch {
  const isOwn = Object.hasOwn(server, 'emit');
  const before = server.emit as Emit;
  const emit: Emit & { [kBefore]?: Emit | undefined } = function (event, ...args) {
    for (const look of watch.looks) if (look(event, args)) return true;
    return Reflect.apply(before, this, [event, ...args]);
  };
  if (isOwn) emit[kBefore] = before;
  const watch: Watch = { emit, looks: [] };
  server.emit = emit as typeof server.emit;
  return watch;
}

function unwrap(server: EventEmitter): void {
  const { [kBefore]: before } = server.emit as Emit & { [kBefore]?: Emit };
  if (before === undefined) delete (server as { emit?: unknown }).emit;
  else server.emit = before as typeof server.emit;
}

/**
 * What others do to a socket of ours comes behind what we have put off: a program that writes to the socket
 * itself, ends or destroys it, does so after all that it has sent before.
 */
import type { Duplex } from 'node:stream';

/** Whoever puts off what goes to the socket. */
export interface PutsOff {
  /** Writes all of it. */
  handOver(): void;
}

const kPutsOff = Symbol('puts off');
type Guarded = Duplex & { [kPutsOff]: PutsOff };
type Method = (this: Guarded, ...args: unknown[]) => unknown;

// One set of methods for all sockets, so that a socket costs no closure.
const methods: Record<string, Method> = {
  // Every write of ours comes this way as well.
  write(chunk, encoding, callback) {
    this[kPutsOff].handOver();
    return inherited(this, 'write').call(this, chunk, encoding, callback);
  },
};
for (const name of ['end', 'destroy', 'destroySoon']) {
  methods[name] = function (...args) {
    this[kPutsOff].handOver();
    return inherited(this, name).apply(this, args);
  };
}

function inherited(socket: Duplex, name: string): Method {
  return Object.getPrototypeOf(socket)[name] as Method;
}

/** From now on the socket's own methods ask `owner` to write first what it has put off. */
export function guard(socket: Duplex, owner: PutsOff): void {
  const guarded = socket as Guarded & Record<string, Method | undefined>;
  guarded[kPutsOff] = owner;
  for (const [name, method] of Object.entries(methods)) {
    const present = guarded[name];
    if (present === undefined) continue;
    // Somebody has put a method of his own there: it goes on being called.
    const isOwn = Object.hasOwn(guarded, name);
    const value: Method = isOwn
      ? function (...args) {
          owner.handOver();
          return present.apply(this, args);
        }
      : method;
    Object.defineProperty(guarded, name, { value, writable: true, configurable: true });
  }
}

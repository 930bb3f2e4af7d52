/** Counting the bytes that a program copies and searches, where time would say too little: linear or quadratic. */

type Method = (this: Uint8Array, ...args: never[]) => unknown;

/** Counts until `stop` is called, which returns how many bytes went through Buffer's and Uint8Array's methods. */
export function countWork(): { stop(): number } {
  let bytes = 0;
  const undo: (() => void)[] = [];
  const watch = (owner: object, name: string, count: (self: Uint8Array, args: unknown[]) => number): void => {
    const before = Reflect.get(owner, name) as Method;
    const counting = function (this: Uint8Array, ...args: unknown[]): unknown {
      bytes += count(this, args);
      return Reflect.apply(before, this, args);
    };
    Object.defineProperty(owner, name, { value: counting, configurable: true, writable: true });
    undo.push(() =>
      Object.defineProperty(owner, name, { value: before, configurable: true, writable: true }),
    );
  };
  const whole = (self: Uint8Array): number => self.length;
  const from =
    (index: number) =>
    (self: Uint8Array, args: unknown[]): number =>
      self.length - (typeof args[index] === 'number' ? args[index] : 0);
  watch(Buffer.prototype, 'indexOf', from(1));
  watch(Buffer.prototype, 'toString', from(1));
  watch(Buffer.prototype, 'copy', from(2));
  watch(Uint8Array.prototype, 'set', (_, [source]) => (source as Uint8Array).length);
  watch(Uint8Array.prototype, 'slice', whole);
  watch(Buffer, 'concat', (_, [list]) => (list as Uint8Array[]).reduce((sum, each) => sum + each.length, 0));
  watch(Buffer, 'from', (_, [source]) => (ArrayBuffer.isView(source) ? source.byteLength : 0));
  return {
    stop() {
      for (const each of undo.splice(0)) each();
      return bytes;
    },
  };
}

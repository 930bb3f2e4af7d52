/** Two ends of a connection without a network: what is written to one is read from the other. */
import { Duplex } from 'node:stream';

class End extends Duplex {
  other: End | undefined;
  #taken: (() => void) | undefined;

  override _read(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    taken?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    const other = this.other!;
    if (other.push(chunk)) callback();
    else other.#taken = callback;
  }

  override _final(callback: () => void): void {
    this.other!.push(null);
    callback();
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const [here, there] = [new End(), new End()];
  here.other = there;
  there.other = here;
  return [here, there];
}

/** Acknowledgements on their way: gathered for a moment, the newest of each channel, and said again after a reconnect. */
import type { WirePosition } from '../push/wire.ts';

export class Acks {
  readonly #delay: number;
  readonly #send: (channel: string, position: WirePosition) => boolean;
  /** The newest by channel; what was sent may have been lost with its connection. */
  readonly #newest = new Map<string, WirePosition>();
  readonly #unsent = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send false where there is no connection */
  constructor(delay: number, send: (channel: string, position: WirePosition) => boolean) {
    this.#delay = delay;
    this.#send = send;
  }

  add(channel: string, position: WirePosition): void {
    const newest = this.#newest.get(channel);
    if (newest?.epoch === position.epoch && newest.offset >= position.offset) return;
    this.#newest.set(channel, position);
    this.#unsent.add(channel);
    this.#timer ??= setTimeout(() => this.flush(), this.#delay);
  }

  flush(): void {
    this.stop();
    for (const channel of this.#unsent) {
      if (!this.#send(channel, this.#newest.get(channel) as WirePosition)) return;
      this.#unsent.delete(channel);
    }
  }

  /** There is a connection again. */
  again(): void {
    for (const channel of this.#newest.keys()) this.#unsent.add(channel);
    this.flush();
  }

  forget(channel: string): void {
    this.#newest.delete(channel);
    this.#unsent.delete(channel);
  }

  clear(): void {
    this.#newest.clear();
    this.#unsent.clear();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

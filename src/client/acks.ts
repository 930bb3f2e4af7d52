/** Acknowledgements on their way: gathered for a moment, the newest of each channel, and said again after a reconnect. */
import type { WirePosition } from '../push/talk/wire.ts';

export class Acks {
  readonly #delay: number;
  readonly #send: (channel: string, position: WirePosition) => void;
  /** The newest by channel; what was sent may have been lost with its connection. */
  readonly #newest = new Map<string, WirePosition>();
  readonly #unsent = new Set<string>();
  #isConnected = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param send only called while there is a connection */
  constructor(delay: number, send: (channel: string, position: WirePosition) => void) {
    this.#delay = delay;
    this.#send = send;
  }

  add(channel: string, position: WirePosition): void {
    const newest = this.#newest.get(channel);
    if (newest?.epoch === position.epoch && newest.offset >= position.offset) return;
    this.#newest.set(channel, position);
    this.#unsent.add(channel);
    if (this.#isConnected) this.#timer ??= setTimeout(() => this.flush(), this.#delay);
  }

  flush(): void {
    if (!this.#isConnected) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const channel of this.#unsent) this.#send(channel, this.#newest.get(channel) as WirePosition);
    this.#unsent.clear();
  }

  connected(): void {
    this.#isConnected = true;
    for (const channel of this.#newest.keys()) this.#unsent.add(channel);
    this.flush();
  }

  disconnected(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isConnected = false;
  }

  forget(channel: string): void {
    this.#newest.delete(channel);
    this.#unsent.delete(channel);
  }

  clear(): void {
    this.#newest.clear();
    this.#unsent.clear();
  }
}

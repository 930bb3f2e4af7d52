/** A page that comes back from its last position whenever it is cut, and notes what its code sees. */
import type { GapReason, WirePosition } from '../../src/push/talk/wire.ts';
import { Page } from './support.ts';

export class ReturningPage {
  readonly seen: unknown[] = [];
  /** Reasons of what could not be recovered. */
  readonly told: GapReason[] = [];
  readonly #urls: string[];
  readonly #user: string;
  #page: Page | undefined;
  #read = 0;
  #position: WirePosition | undefined;
  #visits = 0;

  /** @param urls of the instances, which it visits in turn */
  constructor(urls: string[], user: string) {
    this.#urls = urls;
    this.#user = user;
  }

  async connect(): Promise<void> {
    const url = this.#urls[this.#visits++ % this.#urls.length]!;
    const hello =
      this.#position === undefined
        ? { start: 'retained' as const }
        : { positions: { inbox: this.#position } };
    this.#page = await Page.open(url, this.#user, hello);
    this.#read = 0;
    const { recovered, reason } = this.#page.frames('welcome')[0]!.channels['inbox']!;
    if (!recovered) this.told.push(reason!);
  }

  /** Takes up what has come so far. */
  look(): unknown[] {
    const messages = this.#page!.messages();
    for (const { data } of messages.slice(this.#read)) this.seen.push(data);
    this.#read = messages.length;
    this.#position = this.#page!.position();
    return this.seen;
  }

  cut(): void {
    this.look();
    this.told.push(...this.#page!.frames('gap').map(({ reason }) => reason!));
    this.#page!.cut();
  }
}

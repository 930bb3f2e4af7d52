/**
 * Who may not come in although interceptors have said who he is: he is blocked, or what ended his sessions came while his
 * handshake was under way. Asked before the handshake is answered, again when the session begins, and with its device.
 */
import type { Attributes } from '../../server/transport.ts';
import type { Ending, Endings } from '../pages/endings.ts';
import { CloseCode } from '../talk/wire.ts';
import type { Blocks } from './blocks.ts';

export class Barrier {
  readonly #blocks: Blocks;
  readonly #endings: Endings;
  /** How many endings there were when the handshake began. */
  readonly #begun = new WeakMap<Attributes, number>();

  constructor(blocks: Blocks, endings: Endings) {
    this.#blocks = blocks;
    this.#endings = endings;
  }

  /** A handshake begins, and nobody has said yet whose it is. */
  begins(attributes: Attributes): void {
    this.#begun.set(attributes, this.#endings.count);
  }

  /** What keeps him out. */
  objection(attributes: Attributes, device?: string): Ending | undefined {
    const { user, login } = attributes;
    const block = this.#blocks.of(user, login);
    if (block !== undefined) return { code: CloseCode.FORBIDDEN, reason: block.reason };
    return this.#endings.since(this.#begun.get(attributes) ?? 0, { user, login, device });
  }
}

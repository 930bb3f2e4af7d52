/**
 * Who may not come in although interceptors have said who he is: he is blocked, or what ended his sessions came while his
 * handshake was under way. Asked before the handshake is answered, again when the session begins, and with its device. The same for
 * topics that are named for somebody and were taken from him meanwhile.
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
  objection(attributes: Attributes, device?: string): (Ending & { isBlock?: true }) | undefined {
    const { user, login } = attributes;
    const block = this.#blocks.of(user, login);
    if (block !== undefined) return { code: CloseCode.FORBIDDEN, reason: block.reason, isBlock: true };
    return this.#endings.since(this.#begunAt(attributes), { user, login, device });
  }

  /** Of the topics that are named, those that were not taken from the user meanwhile. */
  topicsLeft(attributes: Attributes): readonly string[] | undefined {
    const { user, topics } = attributes;
    const begun = this.#begunAt(attributes);
    if (begun === this.#endings.count) return topics;
    return topics?.filter((topic) => this.#endings.since(begun, { user, topic }) === undefined);
  }

  #begunAt(attributes: Attributes): number {
    return this.#begun.get(attributes) ?? 0;
  }
}

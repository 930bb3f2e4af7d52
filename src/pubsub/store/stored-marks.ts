/**
 * The marks of channels in a store that instances share: calls about one channel go in their order and are tried again, and
 * where one call would be long for the store, several do it. Each store has its own calls.
 */
import type { Position } from './broker.ts';
import { CallOrder } from './call-order.ts';
import type { Channels } from './channels.ts';
import { tried } from './failures.ts';
import { checkMark, type Mark, type MarkAs, type Marked, type Removal, TooManyRangesError } from './marks.ts';
import { messageId } from './random-id.ts';

/** What a call asks for. */
export interface MarkRequest {
  /** `withdrawn`: as `deleted`, however many ranges there are. '': to take away what has expired only. */
  as: MarkAs | 'withdrawn' | '';
  /** With '', nothing. `upTo`: the one position. */
  which?: 'all' | 'upTo' | 'messages' | 'key';
  key?: string;
  positions?: readonly Position[];
}

export interface MarkAnswer {
  /** `undefined` where they have to be asked for, as they are long. */
  marked: Marked | undefined;
  /** How many messages; below zero, the number of ranges that were too many. */
  changed: number;
  /** What is to be asked for next, as there is more to do. */
  rest: MarkRequest | undefined;
}

export abstract class StoredMarks {
  readonly #channels: Channels;
  readonly #maxWait: number;
  readonly #order: CallOrder;
  readonly #closing = new AbortController();

  /** @param maxWait milliseconds that a call is tried again, while the store is away or refuses */
  constructor(channels: Channels, maxWait: number) {
    this.#channels = channels;
    this.#maxWait = maxWait;
    this.#order = new CallOrder(maxWait, (message) => channels.failures.late(message));
  }

  /** As Broker.mark. */
  async mark(channel: string, mark: Mark): Promise<Marked & { changed: number }> {
    checkMark(mark);
    return this.#inOrder(channel, requestOf(mark));
  }

  /** As Broker.remove. */
  async remove(channel: string, which: Removal): Promise<boolean> {
    const { changed } = await this.#inOrder(
      channel,
      'key' in which
        ? { as: 'withdrawn', which: 'key', key: which.key }
        : { as: 'withdrawn', which: 'messages', positions: [which.position] },
    );
    return changed > 0;
  }

  /** As Broker.marks. */
  marks(channel: string): Promise<Marked> {
    return this.#channels.about('marks', channel, this.look(channel));
  }

  /** As `marks`, without judging what went wrong. */
  abstract look(channel: string): Promise<Marked>;

  /** Gives the marks another epoch if they lack the version that is known, which is that of a change. */
  abstract compare(channel: string): Promise<void>;

  /** @param id of this change: said again with the same one and nothing changed in between, it is made once */
  protected abstract call(channel: string, request: MarkRequest, id: string): Promise<MarkAnswer>;

  /** Tries nothing again any more; what is under way settles. */
  close(): void {
    this.#closing.abort();
  }

  #inOrder(channel: string, request: MarkRequest): Promise<Marked & { changed: number }> {
    const changing = this.#order.run(channel, () => this.#change(channel, request));
    return this.#channels.about('mark', channel, changing);
  }

  async #change(channel: string, request: MarkRequest): Promise<Marked & { changed: number }> {
    let next = request;
    let changed = 0;
    for (;;) {
      const id = messageId();
      // With the same id, it is found out if it was done, as long as nobody has marked anything since. After that, it
      // does no harm either, but where it is about all there is by then.
      const isHarmless = next.which !== 'all';
      const answer = await this.#tried(isHarmless, () => this.call(channel, next, id));
      if (answer.changed < 0) throw new TooManyRangesError(-answer.changed);
      changed += answer.changed;
      if (answer.rest === undefined) {
        const marked = answer.marked ?? (await this.#tried(true, () => this.look(channel)));
        return { ...marked, changed };
      }
      next = answer.rest;
    }
  }

  /** @param isHarmless whether it may be done twice */
  #tried<T>(isHarmless: boolean, attempt: () => Promise<T>): Promise<T> {
    const { signal } = this.#closing;
    return tried(this.#channels.failures, attempt, { maxWait: this.#maxWait, isHarmless, signal });
  }
}

/** What is to be asked for where a call has left some of it: what comes meanwhile is not meant. @param top of the channel, then */
export function restOf(request: MarkRequest, top: Position): MarkRequest {
  return request.which === 'all' ? { as: request.as, which: 'upTo', positions: [top] } : request;
}

function requestOf({ as, upTo, messages }: Mark): MarkRequest {
  if (messages !== undefined) return { as, which: 'messages', positions: messages };
  return upTo === undefined ? { as, which: 'all' } : { as, which: 'upTo', positions: [upTo] };
}

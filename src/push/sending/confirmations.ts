/** Waits until a device of the user has acknowledged what was sent to it. */
import type { Broker, Cursor, Receipt } from '../../pubsub/store/broker.ts';
import { includes, type Marked } from '../../pubsub/store/marks.ts';
import { afterReading } from '../../waiting.ts';

/** The message is stored, but what `confirm` asked for has not happened in time. */
export class ConfirmTimeoutError extends Error {
  /** Always `CONFIRM_TIMEOUT`. */
  readonly code = 'CONFIRM_TIMEOUT';
  /** Where the message is stored. */
  readonly receipt: Receipt;
  constructor(receipt: Receipt, timeout: number) {
    super(
      `${receipt.channel} offset ${receipt.offset} is stored, but no device acknowledged it within ${timeout} ms`,
    );
    this.name = 'ConfirmTimeoutError';
    this.receipt = receipt;
  }
}

/** The message was stored, and withdrawn, replaced or deleted, or has expired, before a device acknowledged it. */
export class MessageGoneError extends Error {
  /** Always `MESSAGE_GONE`. */
  readonly code = 'MESSAGE_GONE';
  /** Where the message was stored. */
  readonly receipt: Receipt;
  constructor(receipt: Receipt) {
    super(`${receipt.channel} offset ${receipt.offset} is gone, and no device acknowledged it before`);
    this.name = 'MessageGoneError';
    this.receipt = receipt;
  }
}

/** An acknowledgement that is waited for, from before its message is stored. */
export interface Expected {
  /**
   * The device that has acknowledged the message.
   *
   * @param timeout milliseconds that were given for all of it, of which `left` are left
   * @throws {ConfirmTimeoutError} or {MessageGoneError}
   */
  of(receipt: Receipt, timeout: number, left: number): Promise<string>;
  forget(): void;
}

class Waiting {
  #receipt: Receipt | undefined;
  /** The furthest that came before the receipt. */
  #early: Cursor | undefined;
  /** The newest marks that did. */
  #marked: Marked | undefined;
  #acknowledged: ((device: string) => void) | undefined;
  #lost: (() => void) | undefined;

  see(cursor: Cursor): void {
    if (this.#receipt !== undefined) {
      if (reaches(cursor, this.#receipt)) this.#acknowledged?.(cursor.device);
      return;
    }
    const known = this.#early?.position;
    const isFurther = known?.epoch !== cursor.position.epoch || known.offset < cursor.position.offset;
    if (isFurther) this.#early = cursor;
  }

  seeMarks(marked: Marked): void {
    const receipt = this.#receipt;
    if (receipt === undefined) this.#marked = marked;
    else if (marked.top.epoch === receipt.epoch && includes(marked.marks.gone, receipt.offset))
      this.#lost?.();
  }

  /** Calls one of them back, perhaps at once. */
  until(receipt: Receipt, acknowledged: (device: string) => void, lost: () => void): void {
    this.#receipt = receipt;
    this.#acknowledged = acknowledged;
    this.#lost = lost;
    if (this.#early !== undefined) this.see(this.#early);
    if (this.#marked !== undefined) this.seeMarks(this.#marked);
  }
}

export class Confirmations {
  readonly #broker: Broker;
  readonly #waiting = new Map<string, Set<Waiting>>();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** Before a message is sent to the channel, which must be subscribed. Pair it with `forget`. */
  expect(channel: string): Expected {
    const waiting = new Waiting();
    let own = this.#waiting.get(channel);
    if (own === undefined) {
      own = new Set();
      this.#waiting.set(channel, own);
    }
    own.add(waiting);
    return {
      of: (receipt, timeout, left) => this.#wait(waiting, receipt, timeout, left),
      forget: () => this.#delete(channel, waiting),
    };
  }

  #wait(waiting: Waiting, receipt: Receipt, timeout: number, left: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const callOff = afterReading(left, () => reject(new ConfirmTimeoutError(receipt, timeout)));
      waiting.until(
        receipt,
        (device) => {
          callOff();
          resolve(device);
        },
        () => {
          callOff();
          reject(new MessageGoneError(receipt));
        },
      );
      // A duplicate may have been acknowledged long ago.
      if (receipt.duplicate) this.#look(receipt.channel);
    });
  }

  acknowledged(cursor: Cursor): void {
    const own = this.#waiting.get(cursor.channel);
    if (own !== undefined) for (const waiting of own) waiting.see(cursor);
  }

  marked(channel: string, marked: Marked): void {
    const own = this.#waiting.get(channel);
    if (own !== undefined) for (const waiting of own) waiting.seeMarks(marked);
  }

  /** The store was away: acknowledgements, or that a message is gone, may have been missed. */
  lookAgain(): void {
    for (const channel of this.#waiting.keys()) this.#look(channel);
  }

  #look(channel: string): void {
    Promise.all([this.#broker.cursors(channel), this.#broker.marks(channel)]).then(
      ([cursors, marked]) => {
        for (const cursor of cursors) this.acknowledged(cursor);
        this.marked(channel, marked);
      },
      // The timeout stays in force.
      () => {},
    );
  }

  #delete(channel: string, waiting: Waiting): void {
    const own = this.#waiting.get(channel);
    own?.delete(waiting);
    if (own?.size === 0) this.#waiting.delete(channel);
  }
}

function reaches({ position }: Cursor, receipt: Receipt): boolean {
  return receipt.epoch === position.epoch && receipt.offset <= position.offset;
}

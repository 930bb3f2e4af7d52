/** Waits until a device of the user has acknowledged what was sent to it. */
import { clearTimeout, setTimeout } from '../../clock.ts';
import type { Broker, Cursor, Receipt } from '../../pubsub/broker.ts';

/** The message is stored, but what `confirm` asked for has not happened in time. */
export class ConfirmTimeoutError extends Error {
  readonly code = 'CONFIRM_TIMEOUT';
  readonly receipt: Receipt;
  constructor(receipt: Receipt, timeout: number) {
    super(
      `${receipt.channel} offset ${receipt.offset} is stored, but no device acknowledged it within ${timeout} ms`,
    );
    this.name = 'ConfirmTimeoutError';
    this.receipt = receipt;
  }
}

interface Waiting {
  receipt: Receipt;
  acknowledged: (device: string) => void;
}

export class Confirmations {
  readonly #broker: Broker;
  readonly #waiting = new Map<string, Set<Waiting>>();

  constructor(broker: Broker) {
    this.#broker = broker;
  }

  /** The channel must be subscribed before the message is sent. Resolves with the device. */
  wait(receipt: Receipt, timeout: number): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#delete(waiting);
        reject(new ConfirmTimeoutError(receipt, timeout));
      }, timeout);
      const waiting: Waiting = {
        receipt,
        acknowledged: (device) => {
          clearTimeout(timer);
          this.#delete(waiting);
          resolve(device);
        },
      };
      let channel = this.#waiting.get(receipt.channel);
      if (channel === undefined) {
        channel = new Set();
        this.#waiting.set(receipt.channel, channel);
      }
      channel.add(waiting);
      // A duplicate may have been acknowledged long ago.
      if (receipt.duplicate) this.#look(receipt.channel);
    });
  }

  acknowledged({ channel, device, position }: Cursor): void {
    for (const { receipt, acknowledged } of this.#waiting.get(channel) ?? []) {
      if (receipt.epoch === position.epoch && receipt.offset <= position.offset) acknowledged(device);
    }
  }

  /** The store was away: acknowledgements may have been missed. */
  lookAgain(): void {
    for (const channel of this.#waiting.keys()) this.#look(channel);
  }

  #look(channel: string): void {
    this.#broker.cursors(channel).then(
      (cursors) => {
        for (const cursor of cursors) this.acknowledged(cursor);
      },
      // The timeout stays in force.
      () => {},
    );
  }

  #delete(waiting: Waiting): void {
    const channel = this.#waiting.get(waiting.receipt.channel);
    channel?.delete(waiting);
    if (channel?.size === 0) this.#waiting.delete(waiting.receipt.channel);
  }
}

/** Reads a queue: each message is acknowledged by itself, and what is not comes again in its old place. */
import { randomUUID } from 'node:crypto';
import type { Intake } from '../driver.ts';
import type { AmqpMessage } from './amqplib.ts';
import type { RabbitDeadLetters } from './dead.ts';
import type { RabbitLink } from './link.ts';
import { nameOf, returnsOf, sourceMessage } from './message.ts';
import { type Delivery, RabbitReader } from './reader.ts';

/** What was told of messages that RabbitMQ got back again and again, over all connections. */
export interface Returns {
  /** How often at the most; 0: nothing. */
  told: number;
}

/** Of so many returns it is told. Every lost connection is one: that is nothing to speak of. */
const MANY_RETURNS = 2;

export interface QueueWay {
  readonly link: RabbitLink;
  readonly queue: string;
  readonly intake: Intake;
  /** Left out: RabbitMQ has a place for them. */
  readonly dead: RabbitDeadLetters | undefined;
  /** Nobody else reads the queue. */
  readonly isAlone: boolean;
  readonly returns: Returns;
}

/** Until `signal` is aborted, and what was taken is settled. @throws {Error} once the link is lost */
export async function readQueue(
  { link, queue, intake, dead, isAlone, returns }: QueueWay,
  signal: AbortSignal,
): Promise<void> {
  const underWay = new Set<Promise<void>>();
  const settle = async ({ message, ack, reject }: Delivery): Promise<void> => {
    // Without a name nothing tells a message that comes again from one that is new: it is stored twice rather than not at all.
    const id = nameOf(message) ?? randomUUID();
    const outcome = await intake.take(sourceMessage(id, message));
    if (outcome.what === 'released') return;
    if (outcome.what === 'dead') {
      if (dead === undefined) return reject();
      await dead.put(message, outcome.reason);
    }
    ack();
  };
  const reader = new RabbitReader(link, queue, intake, isAlone, {
    args: () => ({}),
    message(delivery) {
      count(delivery.message, intake, returns);
      const settling = settle(delivery)
        .catch((error) => link.fail(error as Error))
        .finally(() => underWay.delete(settling));
      underWay.add(settling);
    },
  });
  await reader.read(signal);
  await link.orLost(Promise.all(underWay));
}

/** A quorum queue drops what it has got back too often, and tells nobody. What its limit is can't be asked. */
function count(message: AmqpMessage, intake: Intake, returns: Returns): void {
  const times = returnsOf(message);
  // New ones come behind all that have come back.
  if (times === 0) returns.told = 0;
  if (times < MANY_RETURNS || times <= returns.told) return;
  returns.told = times;
  intake.endangered(
    `RabbitMQ has got a message back ${times} times (message-id ${nameOf(message) ?? 'none'}), and drops it above the queue's x-delivery-limit`,
  );
}

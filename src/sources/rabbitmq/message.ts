/** What a message of RabbitMQ is to the engine. */

import type { SourceMessage } from '../driver.ts';
import type { AmqpMessage } from './amqplib.ts';

/** Milliseconds since 1970 are not below it, and seconds not above. */
const SECONDS_END = 100_000_000_000;

export function sourceMessage(id: string, { content, fields, properties }: AmqpMessage): SourceMessage {
  const { messageId, contentType, contentEncoding, correlationId, type, appId } = properties;
  const time = timeOf(properties['timestamp']);
  return {
    id,
    body: content,
    attributes: {
      exchange: fields.exchange,
      routingKey: fields.routingKey,
      redelivered: fields.redelivered,
      headers: properties.headers ?? {},
      messageId,
      contentType,
      contentEncoding,
      correlationId,
      type,
      appId,
    },
    ...(time !== undefined && { time }),
  };
}

/** What is there in place of bytes that are no UTF-8. */
const REPLACED = '\ufffd';

/** What the sender has named it: text. Of others, such as bytes of a UUID, `amqplib` does not tell which is which. */
export function nameOf({ properties }: AmqpMessage): string | undefined {
  const { messageId } = properties;
  if (typeof messageId !== 'string' || messageId === '') return undefined;
  return messageId.includes(REPLACED) ? undefined : messageId;
}

/** How often a quorum queue has got a message back that it had handed out. */
export function returnsOf({ properties }: AmqpMessage): number {
  const count = properties.headers?.['x-delivery-count'];
  return typeof count === 'number' ? count : 0;
}

/** The protocol has seconds, and many write milliseconds. */
function timeOf(timestamp: unknown): number | undefined {
  if (typeof timestamp !== 'number' || !(timestamp > 0)) return undefined;
  return timestamp < SECONDS_END ? timestamp * 1000 : timestamp;
}

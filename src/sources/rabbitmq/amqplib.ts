/** As much of the package `amqplib` as is used here. */
import type { EventEmitter } from 'node:events';
import { loadPackage } from '../packages.ts';

export interface AmqpMessage {
  content: Buffer;
  fields: { deliveryTag: number; redelivered: boolean; exchange: string; routingKey: string };
  properties: Record<string, unknown> & { headers?: Record<string, unknown> };
}

export interface AmqpQueue {
  messageCount: number;
  consumerCount: number;
}

/** With publisher confirms. */
export interface AmqpChannel extends EventEmitter {
  checkQueue(queue: string): Promise<AmqpQueue>;
  assertQueue(queue: string, options: { durable: boolean; arguments?: object }): Promise<AmqpQueue>;
  prefetch(count: number): Promise<unknown>;
  /** `null` is handed in when the server ends the consumer. */
  consume(
    queue: string,
    onMessage: (message: AmqpMessage | null) => void,
    options: { arguments?: object },
  ): Promise<{ consumerTag: string }>;
  cancel(consumerTag: string): Promise<unknown>;
  ack(message: AmqpMessage): void;
  nack(message: AmqpMessage, allUpTo: boolean, requeue: boolean): void;
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: object,
    confirmed: (error: unknown) => void,
  ): boolean;
  close(): Promise<void>;
}

export interface AmqpConnection extends EventEmitter {
  createConfirmChannel(): Promise<AmqpChannel>;
  close(): Promise<void>;
}

export interface Amqplib {
  connect(url: string, options: object): Promise<AmqpConnection>;
}

/** @throws {SourceSetupError} saying what to install */
export function loadAmqplib(): Promise<Amqplib> {
  return loadPackage<Amqplib>('amqplib', 'RabbitMQ', ({ connect }) => typeof connect === 'function');
}

/** A real broker whose doorbells get lost: what a dropped connection or a full buffer does, on purpose. */
import type { Broker, BrokerListener, StoredMessage } from '../../src/pubsub/broker.ts';

export interface FaultyBroker extends Broker {
  /** Whether to lose this doorbell. */
  loses: (message: StoredMessage) => boolean;
}

export function faultyBroker(inner: Broker): FaultyBroker {
  return Object.assign(Object.create(inner) as Broker, {
    loses: () => false,
    open(this: FaultyBroker, listener: BrokerListener) {
      return inner.open({
        message: (message) => {
          if (!this.loses(message)) listener.message(message);
        },
        transient: (channel, payload) => listener.transient(channel, payload),
        acknowledged: (cursor) => listener.acknowledged(cursor),
        down: (error) => listener.down(error),
        up: () => listener.up(),
      });
    },
    publish: inner.publish.bind(inner),
    notify: inner.notify.bind(inner),
    subscribe: inner.subscribe.bind(inner),
    unsubscribe: inner.unsubscribe.bind(inner),
    read: inner.read.bind(inner),
    entry: inner.entry.bind(inner),
    tops: inner.tops.bind(inner),
    acknowledge: inner.acknowledge.bind(inner),
    cursors: inner.cursors.bind(inner),
    announce: inner.announce.bind(inner),
    withdraw: inner.withdraw.bind(inner),
    presence: inner.presence.bind(inner),
    close: inner.close.bind(inner),
  });
}

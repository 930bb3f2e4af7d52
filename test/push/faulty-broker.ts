/** A real broker that is made to fail: doorbells get lost, come late or twice, calls are refused. */
import type { Broker, BrokerListener, StoredMessage } from '../../src/pubsub/store/broker.ts';

export interface Faults {
  /** Whether to lose this doorbell. */
  loses(message: StoredMessage): boolean;
  /** Milliseconds by which this doorbell comes late, so that later ones overtake it; 0 for none. */
  delays(message: StoredMessage): number;
  /** Whether this doorbell comes twice. */
  repeats(message: StoredMessage): boolean;
  /** Whether to lose what tells of a channel's marks. */
  losesMarks(channel: string): boolean;
  /** Whether the store refuses this call. */
  refuses(call: 'subscribe' | 'read' | 'tops' | 'cursors'): boolean;
}

export interface FaultyBroker extends Broker {
  readonly faults: Faults;
  /** The push server's side, to tell it that the store is down or up. */
  listener: BrokerListener;
}

export function faultyBroker(inner: Broker, given: Partial<Faults> = {}): FaultyBroker {
  const faults: Faults = {
    loses: () => false,
    delays: () => 0,
    repeats: () => false,
    losesMarks: () => false,
    refuses: () => false,
    ...given,
  };
  const tried = async <T>(call: Parameters<Faults['refuses']>[0], work: () => Promise<T>): Promise<T> => {
    if (faults.refuses(call)) throw new Error(`the store refuses to ${call}`);
    return work();
  };
  const broker: FaultyBroker = {
    faults,
    control: inner.control,
    schedule: inner.schedule,
    listener: undefined as never,
    open(listener) {
      broker.listener = listener;
      const ring = (message: StoredMessage): void => listener.message(message);
      return inner.open({
        message: (message) => {
          if (faults.loses(message)) return;
          const delay = faults.delays(message);
          if (delay > 0) setTimeout(ring, delay, message);
          else ring(message);
          if (faults.repeats(message)) setTimeout(ring, 1, message);
        },
        transient: (channel, payload) => listener.transient(channel, payload),
        acknowledged: (cursor) => listener.acknowledged(cursor),
        marked: (channel, marked) => {
          if (!faults.losesMarks(channel)) listener.marked?.(channel, marked);
        },
        down: (error) => listener.down(error),
        up: () => listener.up(),
        ...(listener.control !== undefined && { control: listener.control }),
      });
    },
    publish: (...all) => inner.publish(...all),
    notify: (...all) => inner.notify(...all),
    subscribe: (channel) => tried('subscribe', () => inner.subscribe(channel)),
    unsubscribe: (channel) => inner.unsubscribe(channel),
    read: (...all) => tried('read', () => inner.read(...all)),
    tops: (channels) => tried('tops', () => inner.tops(channels)),
    opening: (channel) => tried('tops', () => inner.opening(channel)),
    mark: (...all) => inner.mark(...all),
    marks: (channel) => inner.marks(channel),
    remove: (...all) => inner.remove(...all),
    acknowledge: (...all) => inner.acknowledge(...all),
    cursors: (channel) => tried('cursors', () => inner.cursors(channel)),
    announce: (...all) => inner.announce(...all),
    withdraw: (...all) => inner.withdraw(...all),
    presence: (user) => inner.presence(user),
    online: (users) => inner.online(users),
    attendance: (...all) => inner.attendance(...all),
    close: () => inner.close(),
  };
  return broker;
}

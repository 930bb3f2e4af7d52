/** The broker as what lies between the instances that share SockJS sessions. */
import type { Log } from '../../log-fields.ts';
import type { Broker, PresenceEntry } from '../../pubsub/store/broker.ts';
import type { Bus } from '../../sockjs/index.ts';
import { Trouble } from '../trouble.ts';
import { Presence } from './presence.ts';

/** No topic and no user has a name with a line break. */
const PREFIX = 'sockjs\n';

export class SockJsBus implements Bus {
  readonly instance: string;
  /** What this instance listens to at the broker. */
  readonly channel: string;
  readonly #broker: Broker;
  readonly #claims: Presence;
  readonly #telling: Trouble;
  #heard: (payload: Buffer) => void = () => {};

  /** @param ttl milliseconds that the claims of a vanished instance last */
  constructor(instance: string, broker: Broker, ttl: number, log: Log) {
    this.instance = instance;
    this.channel = PREFIX + instance;
    this.#broker = broker;
    this.#telling = new Trouble(
      log,
      { event: 'sockjs-failing', message: 'SockJS sessions could not be told to the store' },
      { event: 'sockjs-back', message: 'SockJS sessions are told to the store again' },
    );
    this.#claims = new Presence(broker, ttl, this.#telling);
  }

  listen(heard: (payload: Buffer) => void): void {
    this.#heard = heard;
  }

  /** Something was said on `channel`. */
  heard(payload: Buffer): void {
    this.#heard(payload);
  }

  say(instance: string, payload: Buffer): void {
    this.#broker.notify(PREFIX + instance, payload).then(
      () => this.#telling.worked(),
      (error) => this.#telling.failed(error),
    );
  }

  claim(key: string): Promise<void> {
    this.#claims.add(this.#entry(key));
    return this.#claims.flush();
  }

  release(key: string): void {
    this.#claims.remove(this.#entry(key).session);
  }

  async holders(key: string): Promise<string[]> {
    const entries = await this.#broker.presence(PREFIX + key);
    return entries.map((entry) => entry.instance);
  }

  /** Withdraws the claims of the sessions that are over. */
  close(): Promise<void> {
    return this.#claims.flush();
  }

  #entry(key: string): PresenceEntry {
    const { instance } = this;
    return { session: instance + PREFIX + key, instance, user: PREFIX + key, since: 0 };
  }
}

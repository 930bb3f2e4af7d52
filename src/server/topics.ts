/** Which connections want what: the topics of one server. A topic is there as long as somebody wants it. */
import { Audience, type Encode, type Member } from './fan-out.ts';
import type { PreparedMessage } from './prepared-message.ts';

export class Topics {
  readonly #audiences = new Map<string, Audience>();
  readonly #subscriptions = new Map<Member, Set<string>>();
  readonly #encode: Encode;

  constructor(encode: Encode) {
    this.#encode = encode;
  }

  subscribe(member: Member, topic: string): void {
    let audience = this.#audiences.get(topic);
    if (audience === undefined) {
      audience = new Audience(this.#encode);
      this.#audiences.set(topic, audience);
    }
    audience.add(member);
    const own = this.#subscriptions.get(member);
    if (own === undefined) this.#subscriptions.set(member, new Set([topic]));
    else own.add(topic);
  }

  unsubscribe(member: Member, topic: string): void {
    const own = this.#subscriptions.get(member);
    if (!own?.delete(topic)) return;
    if (own.size === 0) this.#subscriptions.delete(member);
    this.#leave(member, topic);
  }

  /** The connection is over. */
  forget(member: Member): void {
    const own = this.#subscriptions.get(member);
    if (own === undefined) return;
    this.#subscriptions.delete(member);
    for (const topic of own) this.#leave(member, topic);
  }

  /** @returns how many connections it goes to */
  publish(topic: string, message: PreparedMessage): number {
    const audience = this.#audiences.get(topic);
    if (audience === undefined) return 0;
    audience.publish(message);
    return audience.members.size;
  }

  #leave(member: Member, topic: string): void {
    const audience = this.#audiences.get(topic);
    if (audience === undefined) return;
    audience.delete(member);
    if (audience.members.size === 0) this.#audiences.delete(topic);
  }
}

/** What lies between the instances that share SockJS sessions: who has which, and a way to talk. */
export interface Bus {
  /** This instance's name. */
  readonly instance: string;
  /** Calls `heard` with what others say to this instance. */
  listen(heard: (payload: Buffer) => void): void;
  /** Hands a payload to an instance; at most once, and nobody learns whether it was. */
  say(instance: string, payload: Buffer): void;
  /** This instance has the session of this key until it is released or the instance dies. Resolves when the others can know. */
  claim(key: string): Promise<void>;
  release(key: string): void;
  /** Which instances have claimed the key. */
  holders(key: string): Promise<string[]>;
}

/** Sessions that another instance has: without sticky balancing, any of a client's requests may come to any instance. */

/** Where a session is that is not ours. */
export interface RemoteSession {
  /** What the client sent. False where that can't be known or the session is gone: the client has to begin anew. */
  send(messages: string[]): Promise<boolean>;
  /**
   * The next frame for the client; undefined where there will be none. Aborting the signal says that the client
   * has gone.
   */
  receive(signal: AbortSignal): Promise<RemoteFrame | undefined>;
}

export interface RemoteFrame {
  text: string;
  /** It was written to the client. Until this is said, the session counts it as lost. */
  taken(): void;
}

export interface Neighbours {
  /** Who of the others has this session; undefined if nobody. Never rejects. */
  find(id: string): Promise<RemoteSession | undefined>;
  /** This instance has it. Resolves when the others can know. Never rejects. */
  claim(id: string): Promise<void>;
  release(id: string): void;
}

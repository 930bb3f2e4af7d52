/**
 * Who this page is to the server: a device id, chosen once and kept, that owns the acknowledgements; and,
 * where asked for, the positions it had reached. Both are kept by user, so that two users of one browser
 * never take each other's place in a channel.
 */
import type { WirePosition } from '../push/talk/wire.ts';
import { isPosition, isRecord } from './frames.ts';

export interface StorageLike {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

export interface IdentityOptions {
  /** The device id; `null` for none (then nothing is kept at the server, and acks have no owner). */
  device: string | null | undefined;
  user: string | undefined;
  storage: StorageLike | undefined;
  /** Where positions are kept between page loads. Default: nowhere. */
  positions: StorageLike | undefined;
  /** Tells the positions of one server from another's. */
  scope: string;
}

const PREFIX = 'tidings:';

export class Identity {
  readonly #options: IdentityOptions;
  /** The user whose device this is: as given, else as the server said, else the last one of this browser. */
  user: string | undefined;
  device: string | undefined;
  /** What earlier page loads, and this one, have handled. */
  positions = new Map<string, WirePosition>();

  constructor(options: IdentityOptions) {
    this.#options = options;
    this.user = options.user ?? read(options.storage, 'user');
    this.#load(undefined);
  }

  /** The server says who the user is. Returns true if what it was told before was another user's. */
  confirm(user: string): boolean {
    const { user: was, device, positions } = this;
    this.user = user;
    write(this.#options.storage, 'user', user);
    if (was === user) return false;
    // Made up before a name was known, it is the device of a user who is new to this browser.
    this.#load(was === undefined ? device : undefined);
    return device !== this.device || positions.size > 0;
  }

  /** The page is done with everything of this channel up to here; undefined forgets the channel. */
  keep(channel: string, position: WirePosition | undefined): void {
    if (this.#options.positions === undefined) return;
    if (position === undefined) this.positions.delete(channel);
    else this.positions.set(channel, position);
    write(this.#options.positions, this.#key(), JSON.stringify(Object.fromEntries(this.positions)));
  }

  #key(): string {
    return `positions:${this.#options.scope}:${this.user}`;
  }

  /** @param fresh what to take for the device of a user that has none; default: a new one */
  #load(fresh: string | undefined): void {
    const { device, storage, positions } = this.#options;
    if (device !== undefined) this.device = device ?? undefined;
    else {
      const key = `device:${this.user}`;
      this.device = (this.user !== undefined && read(storage, key)) || fresh || randomId();
      if (this.user !== undefined) write(storage, key, this.device);
    }
    this.positions = new Map();
    try {
      const kept: unknown = JSON.parse(read(positions, this.#key()) ?? '{}');
      for (const [channel, position] of isRecord(kept) ? Object.entries(kept) : [])
        if (isPosition(position)) this.positions.set(channel, position as WirePosition);
    } catch {
      // Not ours, or cut short: begin without.
    }
  }
}

/** 128 random bits in hex. Not randomUUID(), which pages without TLS don't have. */
export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** localStorage, in a page that has it. */
export function pageStorage(): StorageLike | undefined {
  try {
    return typeof document === 'undefined' ? undefined : localStorage;
  } catch {
    // Forbidden in a sandboxed frame.
    return undefined;
  }
}

// Storage can be full, forbidden or taken away at any moment: the page works on without.
function read(storage: StorageLike | undefined, key: string): string | undefined {
  try {
    return storage?.getItem(PREFIX + key) ?? undefined;
  } catch {
    return undefined;
  }
}

function write(storage: StorageLike | undefined, key: string, value: string): void {
  try {
    storage?.setItem(PREFIX + key, value);
  } catch {
    // As above.
  }
}

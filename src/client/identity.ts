/**
 * Who this page is to the server: a device id, chosen once and kept, that owns the acknowledgements. It is kept by user,
 * so that two users of one browser never take each other's place in a channel.
 */
import type { WirePosition } from '../push/talk/wire.ts';
import { read, type StorageLike, write } from './storage.ts';

export interface IdentityOptions {
  /** The device id; `null` for none (then nothing is kept at the server, and acks have no owner). */
  device?: string | null;
  user?: string;
}

export interface Identity {
  /** The user whose device this is: as given, else as the server said, else the last one of this browser. */
  user: string | undefined;
  device: string | undefined;
  /** What earlier page loads, and this one, have handled, where that is kept. */
  positions?: Map<string, WirePosition>;
  /** The server says who the user is. Returns true if what it was told before was another user's. */
  confirm(user: string): boolean;
}

/** @param loaded called with whether it was another user's, when the user's name has become known */
export function createIdentity(
  options: IdentityOptions,
  storage: StorageLike | undefined,
  loaded: (isAnother: boolean) => void,
): Identity {
  /** @param fresh what to take for the device of a user that has none; default: a new one */
  const load = (fresh?: string): void => {
    const { user } = identity;
    const { device } = options;
    const key = `device:${user}`;
    if (device !== undefined) identity.device = device ?? undefined;
    else if (user === undefined) identity.device = randomId();
    else {
      identity.device = read(storage, key) || fresh || randomId();
      write(storage, key, identity.device);
    }
  };

  const identity: Identity = {
    user: options.user ?? read(storage, 'user'),
    device: undefined,
    confirm(user) {
      const { user: was, device, positions } = identity;
      identity.user = user;
      write(storage, 'user', user);
      if (was === user) return false;
      // Made up before a name was known, it is the device of a user who is new to this browser.
      load(was === undefined ? device : undefined);
      loaded(was !== undefined);
      return device !== identity.device || !!positions?.size;
    },
  };
  load();
  return identity;
}

/** 128 random bits in hex. Not randomUUID(), which pages without TLS don't have. */
export function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}

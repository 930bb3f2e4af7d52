/** What a browser keeps for a page. It can be full, forbidden or taken away at any moment: the page works on without. */

/** As much of localStorage or sessionStorage as is used here. */
export interface StorageLike {
  /** The value of a key; null where there is none. It may throw. */
  getItem(key: string): string | null;
  /** Keeps a value. It may throw, as where the storage is full. */
  setItem(key: string, value: string): void;
}

const PREFIX = 'tidings:';

function attempt<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}

/** localStorage, in a page that has it. It is forbidden in a sandboxed frame. */
export function pageStorage(): StorageLike | undefined {
  return attempt(() => globalThis.document && localStorage);
}

export function read(storage: StorageLike | undefined, key: string): string | undefined {
  return attempt(() => storage?.getItem(PREFIX + key)) ?? undefined;
}

export function write(storage: StorageLike | undefined, key: string, value: string): void {
  attempt(() => storage?.setItem(PREFIX + key, value));
}

/** Keeps what the page has handled between page loads, by server and by user. */
import type { WirePosition } from '../push/talk/wire.ts';
import { isPosition, isRecord } from './frames.ts';
import { read, type StorageLike, write } from './storage.ts';
import type { Talk } from './talk.ts';

export function addPositions({ add, identity, scope }: Talk, storage: StorageLike | undefined): void {
  const key = (): string => `positions:${scope}:${identity.user}`;
  let positions: Map<string, WirePosition>;
  const load = (): void => {
    positions = identity.positions = new Map();
    try {
      const kept: unknown = JSON.parse(read(storage, key()) ?? '');
      if (isRecord(kept))
        for (const [channel, position] of Object.entries(kept))
          if (isPosition(position)) positions.set(channel, position as WirePosition);
    } catch {
      // Nothing, not ours, or cut short: begin without.
    }
  };
  if (storage === undefined) return;
  load();
  add({
    loaded: load,
    handled(channel, position) {
      if (position) positions.set(channel, position);
      else positions.delete(channel);
      write(storage, key(), JSON.stringify(Object.fromEntries(positions)));
    },
  });
}

/** The user's inbox in React: what it shows is always what the client knows. */
import { useCallback, useSyncExternalStore } from 'react';

const NOTHING = { unseen: 0, unread: 0, all: 0 };

/**
 * @param client of `connect` of tidings/client, made once, outside of components
 * @returns `items` (newest first), `counts`, whether there is `more`, and what can be done with them
 */
export function useInbox({ inbox }) {
  const subscribe = useCallback(
    (changed) => {
      const stops = [inbox.on('change', changed), inbox.on('counts', changed)];
      return () => {
        for (const stop of stops) stop();
      };
    },
    [inbox],
  );
  const items = useSyncExternalStore(subscribe, () => inbox.items);
  const counts = useSyncExternalStore(subscribe, () => inbox.counts ?? NOTHING);
  const more = useSyncExternalStore(subscribe, () => inbox.hasMore);
  const { load, markRead, markUnread, markAllSeen, markAllRead, archive, remove } = inbox;
  return { items, counts, more, load, markRead, markUnread, markAllSeen, markAllRead, archive, remove };
}

/** The user's inbox in Vue: what it shows is always what the client knows. */
import { onScopeDispose, shallowRef } from 'vue';

const NOTHING = { unseen: 0, unread: 0, all: 0 };

/**
 * @param client of `connect` of tidings/client, made once, outside of components
 * @returns refs of `items` (newest first), `counts`, whether there is `more`, and what can be done with them
 */
export function useInbox({ inbox }) {
  const items = shallowRef([]);
  const counts = shallowRef(NOTHING);
  const more = shallowRef(true);
  const look = () => {
    items.value = inbox.items;
    counts.value = inbox.counts ?? NOTHING;
    more.value = inbox.hasMore;
  };
  look();
  const stops = [inbox.on('change', look), inbox.on('counts', look)];
  onScopeDispose(() => {
    for (const stop of stops) stop();
  });
  const { load, markRead, markUnread, markAllSeen, markAllRead, archive, remove } = inbox;
  return { items, counts, more, load, markRead, markUnread, markAllSeen, markAllRead, archive, remove };
}

/** A bell and a list, in Vue. `?user=` says whose, which only a server for trying things out believes. */
import { connect } from 'tidings/client';
import { createApp, h, ref } from 'vue';
import { useInbox } from './useInbox.js';

const client = connect({ user: new URLSearchParams(location.search).get('user') });

const Inbox = {
  setup() {
    const { items, counts, more, load, markRead, markAllRead, archive } = useInbox(client);
    load({ limit: 20 });
    const row = (item) =>
      h('li', { key: item.id, class: item.state }, [
        h('button', { onClick: () => markRead(item) }, item.data.subject),
        h('button', { onClick: () => archive(item) }, 'Archive'),
      ]);
    return () =>
      h('section', [
        h('h1', ['Inbox ', h('b', counts.value.unread)]),
        h('button', { id: 'all', onClick: markAllRead }, 'Mark all as read'),
        h('ul', items.value.map(row)),
        more.value && h('button', { onClick: () => load({ limit: 20 }) }, 'More'),
      ]);
  },
};

createApp({
  setup() {
    const isOpen = ref(true);
    const toggle = () => {
      isOpen.value = !isOpen.value;
    };
    return () => [h('button', { id: 'toggle', onClick: toggle }, 'Bell'), isOpen.value && h(Inbox)];
  },
}).mount('#app');

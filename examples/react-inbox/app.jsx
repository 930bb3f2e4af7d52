/** A bell and a list, in React. `?user=` says whose, which only a server for trying things out believes. */
import { StrictMode, useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { connect } from 'tidings/client';
import { useInbox } from './useInbox.js';

const client = connect({ user: new URLSearchParams(location.search).get('user') });

function Inbox() {
  const { items, counts, more, load, markRead, markAllRead, archive } = useInbox(client);
  useEffect(() => void load({ limit: 20 }), [load]);
  return (
    <section>
      <h1>
        Inbox <b>{counts.unread}</b>
      </h1>
      <button type="button" id="all" onClick={markAllRead}>
        Mark all as read
      </button>
      <ul>
        {items.map((item) => (
          <li key={item.id} className={item.state}>
            <button type="button" onClick={() => markRead(item)}>
              {item.data.subject}
            </button>
            <button type="button" onClick={() => archive(item)}>
              Archive
            </button>
          </li>
        ))}
      </ul>
      {more && (
        <button type="button" onClick={() => load({ limit: 20 })}>
          More
        </button>
      )}
    </section>
  );
}

function App() {
  const [isOpen, setOpen] = useState(true);
  return (
    <>
      <button type="button" id="toggle" onClick={() => setOpen(!isOpen)}>
        Bell
      </button>
      {isOpen && <Inbox />}
    </>
  );
}

createRoot(document.getElementById('app')).render(
  <StrictMode>
    <App />
  </StrictMode>,
);

/** What the bell's types promise to a page in TypeScript. `npm run lint` compiles this; nothing runs it. */
import { type Mail, TidingsBell } from '../../src/client/bell/index.ts';
import { connect } from '../../src/client/index.ts';

const bell: TidingsBell | null = document.querySelector('tidings-bell');
if (bell !== null) {
  bell.client = connect<Mail>();
  bell.ticket = async () => null;
  bell.texts = { title: 'Nachrichten' };
  // @ts-expect-error no text has this name
  bell.texts = { headline: 'Nachrichten' };
  bell.mail = (data, item) => ({ subject: `${data}`, href: `/${item?.id}` });
  bell.row = (item, { subject }) => (item.state === 'read' ? null : document.createTextNode(subject));
  bell.addEventListener('tidings-open', (event) => {
    const { item, mail } = event.detail;
    const names: [string | undefined, string, string | undefined] = [item?.id, mail.subject, mail.href];
    return names;
  });
  bell.addEventListener('tidings-state', ({ detail }) => {
    // @ts-expect-error there is no such state
    return detail.state === 'closed';
  });
  bell.addEventListener('click', (event) => event.preventDefault());
  // @ts-expect-error it says so, and nobody sets it
  bell.state = 'offline';
}
TidingsBell.texts['de'] = { title: 'Nachrichten' };

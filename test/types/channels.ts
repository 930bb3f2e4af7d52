/** One declaration of what is sent holds in server and client. `npm run lint` compiles this; nothing runs it. */
import type { Channels as ClientChannels } from '../../src/client/core.ts';
import { Client, type ClientOf, connect, type InboxItem, type Message } from '../../src/client/index.ts';
import { type Channels, PushServer } from '../../src/index.ts';

interface Mail {
  subject: string;
}
interface Headline {
  headline: string;
}
interface Mails extends Channels {
  inbox: Mail;
  news: Headline;
  [room: `room:${string}`]: { line: string };
}
const subject = 'hello';

export async function serve(push: PushServer<Mails>): Promise<string> {
  await push.send('alice', { subject }, { ttl: 1000 });
  await push.sendMany(['alice'], { subject });
  await push.publish('news', { headline: 'x' });
  await push.publish('room:7', { line: 'x' }, { at: Date.now() });
  const room: string = 'room:8';
  await push.publish(`room:${room}`, { line: 'x' });
  // @ts-expect-error a mail has a subject
  await push.send('alice', { subjekt: 'hello' });
  // @ts-expect-error what comes by one channel doesn't by another
  await push.publish('news', { subject });
  // @ts-expect-error no such topic was declared
  await push.publish('sports', { headline: 'x' });
  // @ts-expect-error the inbox is no topic
  await push.publish('inbox', { subject });
  // @ts-expect-error to many users, too
  await push.sendMany(['alice'], 7);
  const { messages } = await push.inbox('alice');
  return messages[0]?.data.subject ?? '';
}

export function show(client: ClientOf<Mails> = connect<Mails>()): void {
  client.on('message', (message) => {
    if (message.channel === 'inbox') return message.data.subject;
    if (message.channel === 'news') return message.data.headline;
    // @ts-expect-error what is broadcast was not declared, and lines have no subject
    return message.data.subject;
  });
  client.on('message', ({ channel, data }) => (channel === 'inbox' ? data.subject : undefined));
  client.inbox.on('change', () => client.inbox.items.map(({ data, state }) => [data.subject, state]));
  client.inbox.on('counts', ({ unread }) => unread + 1);
  const item: InboxItem<Mail> | undefined = client.inbox.items[0];
  if (item) client.inbox.markRead([item, item.id]);
  client.inbox.list({ state: 'archived' }).then(({ items }) => items[0]?.data.subject);
  client.subscribe('news');
  client.subscribe('room:7', { presence: true });
  client.publish('room:7', { line: 'x' });
  // @ts-expect-error no such topic
  client.subscribe('sports');
  // @ts-expect-error not what a room has
  client.publish('room:7', { headline: 'x' });
  // @ts-expect-error there is no such state
  client.inbox.list({ state: 'deleted' });
  // @ts-expect-error items are what they are: marks change them
  client.inbox.items[0]!.state = 'read';
}

/** Without a declaration all is as it was: one type for all data, or none. */
export function plain(): void {
  const mails = connect<Mail>();
  mails.on('message', ({ channel, data }: Message<Mail>) => [channel.length, data.subject]);
  mails.subscribe('whatever');
  mails.publish('whatever', 7);
  mails.inbox.items.map(({ data }) => data.subject);
  const anything = new Client();
  // @ts-expect-error data of unknown type can't be used unseen
  anything.on('message', ({ data }) => data.subject);
  anything.publish('whatever', { of: 'any kind' });
  const push = new PushServer();
  push.send('alice', 7);
  push.publish('whatever', new Uint8Array(1));
}

/** What the one package calls so is what the other does. */
export const same = (channels: Channels): ClientChannels => channels;
/** Where it does not matter what comes, any of these will do. */
export const clients: Client[] = [connect(), connect<Mail>()];

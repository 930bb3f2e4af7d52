/** `tidings inbox` and `tidings withdraw`: what a user's inbox has, and taking a message back, through the admin API. */
import { printable } from '../push/explain.ts';
import type { InboxMessage, InboxPage } from '../push/inbox/inbox.ts';
import { textOfField, textsOfElements } from '../push/talk/json-field.ts';
import { callAdminForText, connection, inPath, printsJson, takeBack, withQuery } from './admin-client.ts';
import { command } from './command.ts';
import { flag, integer, once, text, UsageError } from './options.ts';

export const inbox = command({
  name: 'inbox',
  positionals: 'USER',
  summary: "list a user's messages, with what he has done with them",
  description:
    'Lists the messages that the inbox of USER has, newest first, each with its state (unseen, seen or read), and prints how ' +
    'many are unseen, unread and there at all. With --json, as the admin API says it.',
  examples: [
    ['tidings inbox alice --token T', 'the newest 50'],
    ['tidings inbox alice --state unread --limit 10 --json --token T', 'ten unread ones, for a script'],
    ['tidings inbox alice --before 120 --token T', 'those before the one with offset 120'],
  ],
  options: {
    ...connection,
    before: once(text('OFFSET', 'Those before this one; also a position, as --json prints it')),
    limit: once(integer('COUNT', 'Messages at the most', { min: 1, max: 200, fallback: 50 })),
    state: once(text('STATE', 'all, unseen, unread or read, without what is archived; or archived', 'all')),
    json: flag('Print JSON'),
  },
  async run({ values, positionals }) {
    const [user, ...rest] = positionals;
    if (user === undefined || rest.length > 0) throw new UsageError('give one USER');
    const { before, limit, state } = values;
    const path = withQuery(`/api/users/${inPath(user)}/inbox`, { limit, state, before });
    const page = await callAdminForText(values, { method: 'GET', path });
    console.log(values.json ? page.trimEnd() : asText(page));
    return 0;
  },
});

export const withdraw = command({
  name: 'withdraw',
  positionals: 'USER [ID]',
  summary: 'take a message back',
  description:
    'Withdraws a message of USER by the id of its receipt, or by the --key that it was sent with as --replaces. Its data is ' +
    'erased, pages that have it are told, and no other gets it. Prints whether there was one, and ends with status 1 where ' +
    'there was none.',
  examples: [
    ['tidings withdraw alice Zq3… --token T', 'one message of a user'],
    ['tidings withdraw alice --key orders --token T', 'the newest that was sent with this key'],
    ['tidings withdraw news Hb4… --topic --token T', 'one message of a topic'],
  ],
  options: {
    ...connection,
    ...printsJson,
    key: once(text('KEY', 'The newest message that was sent with --replaces KEY')),
    topic: once(flag('It is a message of a topic: give its name in place of USER')),
  },
  async run({ values, positionals }) {
    const [name, id, ...rest] = positionals;
    if (name === undefined || rest.length > 0 || (id === undefined) === (values.key === undefined)) {
      throw new UsageError('give a USER (or a topic), and an ID or a --key');
    }
    const messages = `/api/${values.topic ? 'topics' : 'users'}/${inPath(name)}/messages`;
    const { key } = values;
    return takeBack(values, id === undefined ? withQuery(messages, { key }) : `${messages}/${inPath(id)}`);
  },
});

/** @param page as it came: numbers that JavaScript can't hold stay what they are */
function asText(page: string): string {
  const { before, counts } = JSON.parse(page) as InboxPage;
  const { unseen, unread, all } = counts;
  return [
    ...textsOfElements(textOfField(page, 'messages') ?? '[]').map(lineOf),
    `${unseen} unseen, ${unread} unread, ${all} in all`,
    ...(before === undefined ? [] : [`there are more: --before ${before.offset}`]),
  ].join('\n');
}

/** What others have written may hold anything: a terminal is sent no control characters. */
function lineOf(message: string): string {
  const { offset, id, time, state, archived, data, reference, unresolved } = JSON.parse(
    message,
  ) as InboxMessage;
  const content = unresolved
    ? `reference ${reference}`
    : typeof data === 'string'
      ? data
      : (textOfField(message, 'data') ?? '');
  const what = `${state}${archived ? ' archived' : ''}`;
  return `${offset}  ${new Date(time).toISOString()}  ${id}  ${what.padEnd(6)}  ${printable(content.replace(/[\t\n\r]+/g, ' '), 200)}`;
}

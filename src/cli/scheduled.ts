/** `tidings scheduled` and `tidings cancel`: through the admin API of a running server. */
import { textOfField, textsOfElements } from '../push/talk/json-field.ts';
import { callAdminForText, connection, inPath, printsJson, takeBack, withQuery } from './admin-client.ts';
import { command } from './command.ts';
import { flag, integer, once, text, UsageError } from './options.ts';

export const scheduled = command({
  name: 'scheduled',
  positionals: '',
  summary: 'list what is sent later',
  description:
    'Prints what was sent with --at and waits for its time, the latest first, as one line of JSON for each message. With ' +
    '--failed, what could never be stored.',
  examples: [
    ['tidings scheduled --user alice --token T', 'what is for alice'],
    [
      'tidings scheduled --before 2026-12-24T00:00:00Z --limit 10 --token T',
      'the last ten before Christmas Eve',
    ],
  ],
  options: {
    ...connection,
    ...printsJson,
    user: once(text('USER', 'Only what is for this user')),
    topic: once(text('TOPIC', 'Only what is for this topic')),
    before: once(text('TIME', 'Only what is due before: a time, or `before` of the page before this one')),
    limit: once(integer('N', 'Messages on the page', { min: 1, max: 200, fallback: 50 })),
    failed: once(flag('What could never be stored, in place of what waits')),
  },
  async run({ values, positionals }) {
    if (positionals.length > 0) throw new UsageError(`'${positionals[0]}'? scheduled takes only options`);
    const { user, topic, before, limit } = values;
    const failed = values.failed ? 'true' : undefined;
    const path = withQuery('/api/scheduled', { limit, user, topic, before, failed });
    const page = await callAdminForText(values, { method: 'GET', path });
    const { count, before: next } = JSON.parse(page) as { count: number; before?: string };
    // As they came: numbers that JavaScript can't hold stay what they are.
    const messages = textsOfElements(textOfField(page, 'messages') ?? '[]');
    for (const message of messages) console.log(message);
    const more = next === undefined ? '' : `; for more of them, --before ${next}`;
    console.error(`tidings scheduled: ${messages.length} listed, ${count} scheduled in all${more}`);
    return 0;
  },
});

export const cancel = command({
  name: 'cancel',
  positionals: 'ID',
  summary: 'take back what is sent later',
  description:
    'Takes a message back that was sent with --at, by the id of its receipt, and prints whether there was one. Ends with ' +
    'status 1 where there was none, or it is being sent.',
  examples: [['tidings cancel YZ2nR8fQxw0bKq7t --token T', 'it will not be sent']],
  options: { ...connection, ...printsJson },
  async run({ values, positionals }) {
    const [id, ...rest] = positionals;
    if (id === undefined || rest.length > 0) throw new UsageError('give one ID');
    return takeBack(values, `/api/scheduled/${inPath(id)}`);
  },
});

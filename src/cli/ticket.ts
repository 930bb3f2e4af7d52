/** `tidings ticket`: signs a ticket that lets a page connect as a user. */
import { signTicket, verifyTicket } from '../push/door/ticket.ts';
import { signTopicTicket, verifyTopicTicket } from '../push/door/topic-ticket.ts';
import { command } from './command.ts';
import { secretOptions, secretsOf } from './login-options.ts';
import { flag, integer, text, UsageError } from './options.ts';

export const ticket = command({
  name: 'ticket',
  positionals: 'USER',
  summary: 'sign a ticket with which a page connects as USER',
  description:
    'Prints a signed ticket for USER. A page gives it to the server as the query parameter `ticket`, as the ' +
    'cookie `tidings_ticket` or as the subprotocol `ticket.TICKET`; the server must know the same secret.',
  examples: [
    ['tidings ticket alice --secret "$SECRET"', 'a ticket for ten minutes'],
    [
      'TIDINGS_SECRET=… tidings ticket alice --ttl 3600',
      'for an hour; the secret is not in the process list',
    ],
    ['tidings ticket alice --topic room:1 --secret "$SECRET"', 'her page may subscribe to room:1'],
  ],
  options: {
    ...secretOptions,
    login: text('ID', "The id of the user's login or session at the application, with which the page ends"),
    topic: text('TOPIC', 'Sign a ticket for this topic alone, with which a page of USER may subscribe to it'),
    json: flag('Print JSON: the ticket, and until when it is valid'),
    ttl: integer('SECONDS', 'How long the ticket is valid', { min: 1, max: 31_536_000, fallback: 600 }),
  },
  async run({ values: { secret: own, secretFile, login, topic, ttl, json }, positionals }) {
    const [user, ...rest] = positionals;
    if (user === undefined || rest.length > 0) throw new UsageError('give one USER');
    const secret = secretsOf(own, secretFile);
    if (secret.length === 0) throw new UsageError('give the --secret that the server knows');
    if (topic !== undefined && login !== undefined)
      throw new UsageError('a ticket for a topic has no --login');
    const lifetime = ttl * 1000;
    try {
      const signed =
        topic === undefined
          ? signTicket(user, { secret, lifetime, ...(login !== undefined && { login }) })
          : signTopicTicket(user, topic, { secret, lifetime });
      const { expires } =
        topic === undefined ? verifyTicket(signed, { secret }) : verifyTopicTicket(signed, { secret });
      console.log(json ? JSON.stringify({ ticket: signed, user, topic, login, expires }) : signed);
    } catch (error) {
      throw error instanceof TypeError ? new UsageError(error.message) : error;
    }
    return 0;
  },
});

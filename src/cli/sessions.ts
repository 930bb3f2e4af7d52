/** `tidings disconnect`, `block` and `unblock`: through the admin API of a running server, on all instances. */
import { callAdmin, connection, inPath, printsJson, withQuery } from './admin-client.ts';
import { command } from './command.ts';
import { integer, text, UsageError } from './options.ts';

const reason = text('TEXT', 'For the page; at most 123 bytes');
const login = text('LOGIN', 'The id of the login or session at the application');

export const disconnect = command({
  name: 'disconnect',
  positionals: 'USER',
  summary: "end a user's sessions, on all instances",
  description:
    "Ends USER's sessions, or only those of a login, a session or a device, and prints how many have ended. When it " +
    'ends with status 0, no instance delivers anything more to them, not even one that can not be reached.',
  examples: [
    ['tidings disconnect alice --reason "signed out" --token T', 'all of them'],
    ['tidings disconnect alice --login 7f3a --token T', 'those of one login'],
  ],
  options: {
    ...connection,
    ...printsJson,
    login,
    session: text('ID', 'Only this session (see GET /api/users/USER/sessions)'),
    device: text('ID', 'Only sessions of this device'),
    code: integer('CODE', 'Close code: 1000, or 3000 to 4999; with 4501 pages stay away', {
      min: 1000,
      max: 4999,
      fallback: 4501,
    }),
    reason,
  },
  async run({ values, positionals }) {
    const user = only(positionals, 'USER');
    const { login, session, device, reason, code } = values;
    const path = withQuery(`/api/users/${inPath(user)}/sessions`, { login, session, device, reason, code });
    return print(await callAdmin(values, { method: 'DELETE', path }));
  },
});

export const block = command({
  name: 'block',
  positionals: '[USER]',
  summary: 'end the sessions of a user or a login, and let none in again',
  description:
    'Ends the sessions of USER, or of a login, and keeps them out on all instances until the block ends or is lifted. ' +
    'Prints how many sessions have ended.',
  examples: [
    ['tidings block alice --reason "account locked" --token T', 'until tidings unblock'],
    ['tidings block --login 7f3a --for 3600 --token T', 'one login, for an hour'],
  ],
  options: {
    ...connection,
    ...printsJson,
    login,
    for: integer('SECONDS', 'How long; 0 for ever', { min: 0, max: 3_153_600_000, fallback: 0 }),
    reason,
  },
  async run({ values, positionals }) {
    const body = {
      ...(values.for > 0 && { until: Date.now() + values.for * 1000 }),
      ...(values.reason !== undefined && { reason: values.reason }),
    };
    return print(
      await callAdmin(values, { method: 'PUT', path: blockPath(values.login, positionals), body }),
    );
  },
});

export const unblock = command({
  name: 'unblock',
  positionals: '[USER]',
  summary: 'lift the block of a user or a login',
  description:
    'Lifts a block of `tidings block`, and prints whether there was one; the status is 0 either way.',
  examples: [['tidings unblock alice --token T', 'she may come in again']],
  options: { ...connection, ...printsJson, login },
  async run({ values, positionals }) {
    return print(await callAdmin(values, { method: 'DELETE', path: blockPath(values.login, positionals) }));
  },
});

function blockPath(login: string | undefined, positionals: string[]): string {
  if (login === undefined) return `/api/users/${inPath(only(positionals, 'USER, or --login'))}/block`;
  if (positionals.length > 0) throw new UsageError('give a USER or a --login, not both');
  return `/api/logins/${inPath(login)}/block`;
}

function only(positionals: string[], what: string): string {
  const [name, ...rest] = positionals;
  if (name === undefined || rest.length > 0) throw new UsageError(`give one ${what}`);
  return name;
}

function print(answer: unknown): number {
  console.log(JSON.stringify(answer));
  return 0;
}

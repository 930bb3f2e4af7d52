/** `tidings serve`: how it is called. serve-run.ts has what it does, so that other commands don't load it. */
import { command } from './command.ts';
import { serveOptions } from './serve-options.ts';

export const serve = command({
  name: 'serve',
  positionals: '',
  summary: 'run a push server',
  description:
    'Runs a push server until SIGTERM or SIGINT, then tells its clients to leave, waits for --drain and ends ' +
    'with status 0. When it is ready it prints a line "listening on …" for each of its endpoints.\n' +
    'Pages must be able to say who their user is: by tickets (--secret), JSON Web Tokens (--jwks), what the ' +
    'application says (--auth-url) or, in closed networks, by bare name (--query-user).',
  examples: [
    ['tidings serve --demo', 'see it work: open the address that it prints'],
    [
      'TIDINGS_SECRET=… TIDINGS_ADMIN_TOKEN=… tidings serve --redis redis://127.0.0.1:6379',
      'one of several instances; secrets are not in the process list',
    ],
    [
      'tidings serve --query-user operator --policy-allow app.example.com:80,443',
      'for a closed network with Flash clients',
    ],
  ],
  options: serveOptions,
  run: async (settings) => (await import('./serve-run.ts')).runServe(settings),
});

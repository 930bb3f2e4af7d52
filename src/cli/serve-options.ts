/** The settings of `tidings serve`. docs/configuration.md lists them; a test holds it to this table. */

import { instanceProblem, topicProblem } from '../push/talk/names.ts';
import { adminOptions } from './admin-options.ts';
import { authOptions } from './auth-url.ts';
import { limitOption } from './limits.ts';
import { logOptions } from './log-output.ts';
import { loginOptions } from './login-options.ts';
import { checked, flag, integer, list, type Option, reloaded, secret, text } from './options.ts';
import { policyOptions } from './policy-options.ts';
import { sourceOption } from './source-option.ts';
import { storeOptions } from './store.ts';
import { tlsOptions } from './tls-options.ts';
import { workersOption } from './workers-option.ts';

/** A path of ours, beside what the site has. */
function path<T extends string | undefined>(option: Option<T>): Option<T> {
  return checked(option, (path) => {
    const isPrefix = option.placeholder.endsWith('|off');
    if (isPrefix && path === 'off') return undefined;
    if (!/^\/[^\s?#]*$/.test(path)) return 'must begin with / and have no space, ? or #';
    if (isPrefix && !/^(?:\/[^/]+)+$/.test(path)) return 'must be of the form /path or /path/path';
    if (OF_THE_SITE.test(path)) return 'is where something else is';
    return undefined;
  });
}

/** See site.ts. */
const OF_THE_SITE = /^\/(?:(?:api|admin)(?:$|\/)|(?:healthz|livez|readyz|metrics|tidings(?:-\w+)?\.js)$)/;

/** Names, or beginnings of names with an asterisk. */
function topicPatterns(option: Option<string[]>): Option<string[]> {
  return checked(option, (patterns) => {
    for (const pattern of patterns) {
      const beginning = pattern.endsWith('*') ? pattern.slice(0, -1) : pattern;
      const problem = beginning === '' ? undefined : topicProblem(beginning);
      if (problem !== undefined) return `can't be: ${problem}`;
    }
    return undefined;
  });
}

export const serveOptions = {
  host: text('HOST', 'Address to listen on; 0.0.0.0 or :: for all', '127.0.0.1'),
  port: integer('PORT', 'Port to listen on; 0 for any free one', { min: 0, max: 65_535, fallback: 8080 }),
  ...tlsOptions,
  path: path(text('PATH', 'Path of the WebSocket endpoint', '/socketServer')),
  sockjs: path(text('PREFIX|off', 'Path of the SockJS endpoint', '/sockjs/socketServer')),
  redis: secret(
    text(
      'URL',
      'The store that the instances share, such as redis://127.0.0.1:6379; without it this process keeps everything in memory',
    ),
  ),
  postgres: secret(
    text(
      'URL',
      'PostgreSQL as that store, such as postgres://tidings@127.0.0.1:5432/app; it needs the package pg',
    ),
  ),
  ...storeOptions,
  instance: checked(
    text('NAME', 'What this instance is called; default: host name, process id and a random part'),
    instanceProblem,
  ),
  workers: workersOption,
  source: sourceOption,
  watch: flag('Take settings anew when a file that they come from has changed, as on SIGHUP'),
  ...loginOptions,
  ...authOptions,
  queryUser: reloaded(
    'new pages',
    text(
      'PARAMETER',
      'Believe the bare user name in this query parameter. Anyone can be anyone: for closed networks only',
    ),
  ),
  topics: reloaded(
    'at once',
    topicPatterns(
      list(
        'TOPIC',
        'Pages may subscribe to this topic; a trailing * stands for any ending; may be repeated',
        /[\s,]+/,
      ),
    ),
  ),
  presence: reloaded(
    'new pages',
    topicPatterns(
      list(
        'TOPIC',
        'It can be asked who is on this topic; a trailing * stands for any ending; the same on all instances; may be repeated',
        /[\s,]+/,
      ),
    ),
  ),
  showPresence: flag('Pages may be told who is on the topics of --presence that they have subscribed to'),
  origins: reloaded(
    'new pages',
    list(
      'ORIGIN',
      'Pages of this origin may connect besides those of this server, such as https://app.example.com; * for all; may be repeated',
      /[\s,]+/,
    ),
  ),
  proxies: reloaded(
    'new pages',
    list(
      'ADDRESS',
      'Believe X-Forwarded-For from this address or CIDR block, or unix: for a Unix socket; may be repeated',
      /[\s,]+/,
    ),
  ),
  ...adminOptions,
  ...policyOptions,
  limit: limitOption,
  plainCounts: reloaded(
    'new pages',
    flag(
      'Pages in plain mode are told how many messages are unread, by a text frame of its own after each change',
    ),
  ),
  drain: reloaded(
    'at once',
    integer('MS', 'Milliseconds over which clients are spread when the server is told to end', {
      min: 0,
      max: 3_600_000,
      fallback: 5_000,
    }),
  ),
  lease: integer(
    'MS',
    'Milliseconds for which an instance that can not be reached may deliver; the same on all instances',
    { min: 500, max: 600_000, fallback: 5_000 },
  ),
  confirmTimeout: integer(
    'MS',
    'Milliseconds in which all instances have to confirm a disconnect or a block',
    {
      min: 1,
      max: 3_600_000,
      fallback: 10_000,
    },
  ),
  ...logOptions,
  tracing: flag(
    'Make spans of OpenTelemetry of the way of messages; needs @opentelemetry/api, and an SDK loaded by NODE_OPTIONS=--import',
  ),
  demo: flag(
    'Serve the mail demo: adds its page, --query-user operator, --topics "*", and on loopback --admin-token demo',
  ),
};

/** The settings of `tidings serve`. docs/configuration.md lists them; a test holds it to this table. */
import { authOptions } from './auth-url.ts';
import { limitOption } from './limits.ts';
import { loginOptions } from './login-options.ts';
import { flag, integer, list, text } from './options.ts';
import { redisOptions } from './redis.ts';

export const serveOptions = {
  host: text('HOST', 'Address to listen on; 0.0.0.0 or :: for all', '127.0.0.1'),
  port: integer('PORT', 'Port to listen on; 0 for any free one', { min: 0, max: 65_535, fallback: 8080 }),
  path: text('PATH', 'Path of the WebSocket endpoint', '/socketServer'),
  sockjs: text('PREFIX|off', 'Path of the SockJS endpoint', '/sockjs/socketServer'),
  redis: text(
    'URL',
    'The store that the instances share, such as redis://127.0.0.1:6379; without it this process keeps everything in memory',
  ),
  ...redisOptions,
  instance: text('NAME', 'What this instance is called; default: host name, process id and a random part'),
  ...loginOptions,
  ...authOptions,
  queryUser: text(
    'PARAMETER',
    'Believe the bare user name in this query parameter. Anyone can be anyone: for closed networks only',
  ),
  topics: list(
    'TOPIC',
    'Pages may subscribe to this topic; a trailing * stands for any ending; may be repeated',
    /[\s,]+/,
  ),
  presence: list(
    'TOPIC',
    'It can be asked who is on this topic; a trailing * stands for any ending; the same on all instances; may be repeated',
    /[\s,]+/,
  ),
  showPresence: flag('Pages may be told who is on the topics of --presence that they have subscribed to'),
  origins: list(
    'ORIGIN',
    'Pages of this origin may connect besides those of this server, such as https://app.example.com; * for all; may be repeated',
    /[\s,]+/,
  ),
  proxies: list(
    'ADDRESS',
    'Believe X-Forwarded-For from this address or CIDR block, or unix: for a Unix socket; may be repeated',
    /[\s,]+/,
  ),
  adminToken: text('TOKEN', 'Switches the admin API on (POST /api/users/USER/messages …)'),
  policyPort: text('PORT|off', 'Port of the Flash policy server; default: 843 where --policy-allow is given'),
  policyAllow: list(
    'DOMAIN:PORTS',
    'Flash content of this site may connect to these ports, such as app.example.com:80,443; may be repeated',
    /\s+/,
  ),
  limit: limitOption,
  plainCounts: flag(
    'Pages in plain mode are told how many messages are unread, by a text frame of its own after each change',
  ),
  drain: integer('MS', 'Milliseconds over which clients are spread when the server is told to end', {
    min: 0,
    max: 3_600_000,
    fallback: 5_000,
  }),
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
  demo: flag(
    'Serve the mail demo: adds its page, --query-user operator, --topics "*", and on loopback --admin-token demo',
  ),
};

/** What load balancers and monitoring ask, and what needs no token. */

import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { type Family, METRICS_TYPE, metricsText } from '../metrics/index.ts';
import type { Health, HealthSettings } from '../push/watch/health.ts';
import type { Stats } from '../push/watch/stats.ts';
import { hostOf } from '../server/request-target.ts';
import type { Call, Route } from './route.ts';
import { ref } from './schemas.ts';

export interface ProbeTarget {
  readonly instance: string;
  stats(): Stats;
  health(settings: HealthSettings): Health;
}

/** @param storeGrace milliseconds for which the store may be away before an instance is not ready */
export function probeRoutes(target: ProbeTarget, storeGrace: number | undefined): Route[] {
  const { instance } = target;
  return [
    {
      method: 'GET',
      path: '/livez',
      scope: undefined,
      operation: 'isLive',
      summary: 'Whether the process turns. It does not look at the store.',
      answers: { 200: { description: 'It does.', schema: ref('Live') } },
      handle: () => ({ status: 200, body: { ok: true } }),
    },
    {
      method: 'GET',
      path: '/readyz',
      scope: undefined,
      operation: 'isReady',
      summary: 'Whether new pages should be sent to this instance.',
      answers: {
        200: { description: 'They should.', schema: ref('Ready') },
        503: { description: 'They should not, and why.', schema: ref('Ready') },
      },
      handle: () => {
        const { ready, ...rest } = target.health(storeGrace === undefined ? {} : { storeGrace });
        return { status: ready ? 200 : 503, body: { ok: ready, instance, ...rest } };
      },
    },
    {
      method: 'GET',
      path: '/healthz',
      scope: undefined,
      operation: 'isHealthy',
      summary: 'Whether all is well with this instance at this moment: an alarm, not a switch.',
      answers: {
        200: { description: 'It is.', schema: ref('Health') },
        503: { description: 'It is not.', schema: ref('Health') },
      },
      handle: () => {
        const { storeAway, storeFaults, draining, sessions } = target.stats();
        const isStarting = target.health({}).reason === 'starting';
        const ok = !isStarting && !storeAway && storeFaults === 0 && !draining;
        return { status: ok ? 200 : 503, body: { ok, instance, sessions, storeAway, storeFaults, draining } };
      },
    },
  ];
}

/** @param families those of this process, or of all processes that share the port */
export function metricsRoute(families: () => Family[] | Promise<Family[]>): Route {
  return {
    method: 'GET',
    path: '/metrics',
    scope: 'read',
    isOpenTo: isLocal,
    operation: 'getMetrics',
    summary: 'Metrics for Prometheus. From a loopback address, it needs no token.',
    answers: {
      200: { description: 'Prometheus’ text format.', schema: { type: 'string' }, type: 'text/plain' },
    },
    handle: async ({ request, response }: Call) => {
      const body = Buffer.from(metricsText(await families()));
      response.writeHead(200, {
        'Content-Type': METRICS_TYPE,
        'Content-Length': body.length,
        'Cache-Control': 'no-store',
      });
      response.end(request.method === 'HEAD' ? undefined : body);
      return undefined;
    },
  };
}

/** A proxy on the same machine writes one of them. */
const FORWARDED = [
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
];
/** What only browsers say. A page of anywhere may have its visitor's browser ask. */
const OF_PAGES = ['origin', 'referer', 'sec-fetch-site'];

/**
 * Whether somebody on this machine asks, and for nobody else. Not by its address alone: a proxy here has the same one, and
 * so has a browser here whose page has had its own name mean this machine; but not the same Host.
 */
export function isLocal(request: IncomingMessage): boolean {
  const { headers, socket, httpVersion } = request;
  if (!isLoopbackAddress(socket.remoteAddress ?? '')) return false;
  // As nginx asks where it is not told otherwise; and as it does where it is told for WebSockets.
  if (httpVersion === '1.0' || /\bupgrade\b/i.test(headers.connection ?? '')) return false;
  if ([...FORWARDED, ...OF_PAGES].some((name) => headers[name] !== undefined)) return false;
  const host = (hostOf(request) ?? '')
    .replace(/:\d{1,5}$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
  return host === 'localhost' || isLoopbackAddress(host);
}

function isLoopbackAddress(address: string): boolean {
  const plain = address.replace(/^::ffff:/i, '');
  return isIP(plain) === 4 ? plain.startsWith('127.') : plain === '::1';
}

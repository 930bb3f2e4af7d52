/** All routes: the admin API, what needs no token, and the document that describes them. */
import type { Family } from '../metrics/index.ts';
import { VERSION } from '../version.ts';
import { type ControlTarget, controlRoutes } from './control.ts';
import { type InboxTarget, inboxRoutes } from './inbox.ts';
import { type LookTarget, lookRoutes } from './look.ts';
import { openApi } from './openapi.ts';
import { metricsRoute, type ProbeTarget, probeRoutes } from './probes.ts';
import type { Route } from './route.ts';
import { type SendingTarget, sendingRoutes } from './sending.ts';
import { type WatchTarget, watchRoutes } from './watching.ts';

/** What it needs of a push server. */
export interface AdminTarget
  extends SendingTarget,
    InboxTarget,
    ControlTarget,
    LookTarget,
    WatchTarget,
    ProbeTarget {
  sessions(user: string): Promise<unknown[]>;
  metrics(): Family[];
}

export interface RouteSettings {
  /** Bytes of a request's body. */
  maxBody: number;
  /** Milliseconds for which the store may be away before an instance is not ready. Default as of `push.health`. */
  storeGrace?: number | undefined;
  /** Whether who follows a user is told what is sent. Default false: only that it is. */
  showData?: boolean | undefined;
  /** What /metrics tells. Default: what the push server does. */
  metrics?: (() => Family[] | Promise<Family[]>) | undefined;
}

/** Everything that there is on the admin port. */
export function adminRoutes(
  target: AdminTarget,
  { maxBody, storeGrace, metrics, showData = false }: RouteSettings,
): Route[] {
  const routes: Route[] = [
    ...sendingRoutes(target, maxBody),
    ...inboxRoutes(target, maxBody),
    ...controlRoutes(target, maxBody),
    ...lookRoutes(target),
    ...watchRoutes(target, showData),
    metricsRoute(metrics ?? (() => target.metrics())),
    ...probeRoutes(target, storeGrace),
    {
      method: 'GET',
      path: '/openapi.json',
      scope: undefined,
      operation: 'getOpenApi',
      summary: 'This document.',
      answers: { 200: { description: 'OpenAPI 3.1.', schema: { type: 'object' } } },
      handle: () => {
        document ??= openApi(routes, VERSION);
        return { status: 200, body: document };
      },
    },
  ];
  let document: object | undefined;
  return routes;
}

/** The OpenAPI document, as a file has it. */
export function adminDocument(): object {
  // Nothing is asked of the push server to describe what it would answer.
  return openApi(adminRoutes({} as AdminTarget, { maxBody: 0 }), VERSION);
}

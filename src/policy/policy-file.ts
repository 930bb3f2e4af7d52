/**
 * Builds a Flash socket policy file: which sites' Flash content may open sockets to which of our ports
 * (Adobe's cross-domain policy file specification, its section on socket policies).
 */
import { isIP } from 'node:net';

/** One `allow-access-from`. */
export interface PolicyGrant {
  /** The site the page came from: `app.example.com`, `*.example.com`, an IP address, or `*` for anyone. */
  domain: string;
  /** `'80,443'`, `'8000-8999'`, 8080, or `'*'` for all. There is no default. */
  ports: string | number;
  /** True: only content that was itself loaded over HTTPS. Left out of the file where not given. */
  secure?: boolean;
}

/** What a policy file allows. */
export interface PolicyOptions {
  /** Nobody is granted anything that isn't listed here. */
  allow: readonly PolicyGrant[];
  /** Which policy files of this host count besides the master on port 843. Left out where not given. */
  siteControl?: 'none' | 'master-only' | 'all';
}

/**
 * The policy as XML, without the NUL that ends it on the wire.
 *
 * @throws {TypeError} naming the grant that makes no sense: a bad domain, a bad port or range, or grants
 *   next to `siteControl: 'none'`, which would void them.
 */
export function buildPolicyFile({ allow, siteControl }: PolicyOptions): string {
  if (!Array.isArray(allow)) {
    throw new TypeError(
      `policy: \`allow\` must be a list of grants such as { domain: 'app.example.com', ports: '80,443' }`,
    );
  }
  const lines = [
    '<?xml version="1.0"?>',
    '<!DOCTYPE cross-domain-policy SYSTEM "http://www.adobe.com/xml/dtds/cross-domain-policy.dtd">',
    '<cross-domain-policy>',
  ];
  if (siteControl !== undefined) {
    if (!['none', 'master-only', 'all'].includes(siteControl)) {
      throw new TypeError(`policy: siteControl must be 'none', 'master-only' or 'all', not '${siteControl}'`);
    }
    if (siteControl === 'none' && allow.length > 0) {
      throw new TypeError("policy: siteControl 'none' voids every grant; leave out one of the two");
    }
    lines.push(`  <site-control permitted-cross-domain-policies="${siteControl}"/>`);
  }
  for (const grant of allow) {
    const domain = checkDomain(grant.domain);
    const ports = parsePorts(grant)
      .map(([low, high]) => (low === 1 && high === 65535 ? '*' : low === high ? low : `${low}-${high}`))
      .join(',');
    const secure = grant.secure === undefined ? '' : ` secure="${grant.secure === true}"`;
    lines.push(`  <allow-access-from domain="${escapeXml(domain)}" to-ports="${ports}"${secure}/>`);
  }
  lines.push('</cross-domain-policy>', '');
  return lines.join('\n');
}

/**
 * Flash believes a policy that was served from port 1024 or above only for ports of 1024 and above.
 *
 * @param servedFrom the port that the player connects to
 * @returns what to tell whoever configured it, or undefined where all is well
 */
export function explainUnreachableGrants({ allow }: PolicyOptions, servedFrom: number): string | undefined {
  if (servedFrom < 1024) return undefined;
  const affected = allow.filter((grant) => parsePorts(grant).some(([low]) => low < 1024));
  if (affected.length === 0) return undefined;
  const grants = affected.map(({ domain, ports }) => `${domain} → ${ports}`).join('; ');
  return (
    `the policy served from port ${servedFrom} grants ports below 1024 (${grants}), which Flash only believes ` +
    'from a port below 1024: serve it on 843, or redirect 843 to this port'
  );
}

function checkDomain(domain: unknown): string {
  const name = typeof domain === 'string' ? domain : '';
  if (name === '*' || isIP(name) !== 0) return name;
  const host = name.startsWith('*.') ? name.slice(2) : name;
  const label = '[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?';
  if (host.length <= 253 && new RegExp(`^${label}(?:\\.${label})*$`, 'i').test(host)) return name;
  throw new TypeError(
    `policy: '${String(domain)}' is not a domain: give a host name in ASCII (xn--… for others), ` +
      "an IP address, '*.example.com', or '*' for any site",
  );
}

function parsePorts({ domain, ports }: PolicyGrant): [low: number, high: number][] {
  if (ports === '*') return [[1, 65535]];
  const refuse = (): never => {
    throw new TypeError(
      `policy: '${String(ports)}' are not ports for ${domain}: give a number from 1 to 65535, ` +
        "a list '80,443', a range '8000-8999', or '*' for all",
    );
  };
  if (typeof ports !== 'string' && typeof ports !== 'number') refuse();
  return String(ports)
    .split(',')
    .map((part) => {
      const [, from, to] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? refuse();
      const low = Number(from);
      const high = Number(to ?? from);
      return low < 1 || high > 65535 || low > high ? refuse() : [low, high];
    });
}

function escapeXml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&apos;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character] as string);
}

/** Reading what a handshake request says about its sender: query, cookies, subprotocols, address. */
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { requestTarget } from '../../server/request-target.ts';
import type { HandshakeRequest } from '../../server/transport.ts';

/** The first value of a query parameter. */
export function queryParameter(request: HandshakeRequest, name: string): string | undefined {
  return new URLSearchParams(requestTarget(request).query).get(name) ?? undefined;
}

/** RFC 6265 §5.4: the first of several cookies of one name is the most specific one. */
export function cookies(request: HandshakeRequest): Map<string, string> {
  const result = new Map<string, string>();
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0) continue;
    const name = pair.slice(0, equals).trim();
    if (name === '' || result.has(name)) continue;
    let value = pair.slice(equals + 1).trim();
    if (value.length > 1 && value.startsWith('"') && value.endsWith('"')) value = value.slice(1, -1);
    result.set(name, decoded(value));
  }
  return result;
}

function decoded(value: string): string {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** The subprotocols that the client offers, in its order. */
export function offeredProtocols(request: HandshakeRequest): string[] {
  const header = request.headers['sec-websocket-protocol'];
  return header === undefined ? [] : header.split(',').map((name) => name.trim());
}

/**
 * Addresses whose X-Forwarded-For is believed.
 *
 * @param proxies addresses or CIDR blocks, such as `127.0.0.1` or `10.0.0.0/8`
 * @throws {TypeError} for anything else
 */
export function trustedProxies(proxies: readonly string[]): BlockList {
  const list = new BlockList();
  for (const proxy of proxies) {
    const [address = '', bits] = proxy.split('/');
    const family = isIPv4(address) ? 'ipv4' : isIPv6(address) ? 'ipv6' : undefined;
    const prefix = Number(bits ?? (family === 'ipv4' ? 32 : 128));
    if (family === undefined || !Number.isInteger(prefix)) {
      throw new TypeError(`proxies: ${JSON.stringify(proxy)} is no address and no CIDR block`);
    }
    list.addSubnet(address, prefix, family);
  }
  return list;
}

/** The client's address: the nearest hop that is no trusted proxy. */
export function clientAddress(request: HandshakeRequest, proxies: BlockList): string {
  let address = plainAddress(request.socket.remoteAddress ?? '');
  const header = request.headers['x-forwarded-for'];
  const hops = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',');
  while (hops.length > 0 && isTrusted(address, proxies)) {
    const hop = plainAddress(hops.pop()!.trim());
    if (!isIPv4(hop) && !isIPv6(hop)) break;
    address = hop;
  }
  return address;
}

function isTrusted(address: string, proxies: BlockList): boolean {
  if (isIPv4(address)) return proxies.check(address, 'ipv4');
  return isIPv6(address) && proxies.check(address, 'ipv6');
}

/** An IPv4 address that a dual-stack socket shows as `::ffff:1.2.3.4` is the same as `1.2.3.4`. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && isIPv4(address.slice(7)) ? address.slice(7) : address;
}

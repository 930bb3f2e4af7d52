/** Reading what a handshake request says about its sender: query, cookies, subprotocols, address. */
import { isUtf8 } from 'node:buffer';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import { requestTarget } from '../../server/request-target.ts';
import type { HandshakeRequest } from '../../server/transport.ts';

const PERCENT = 0x25;
const PLUS = 0x2b;
const SPACE = 0x20;

/**
 * The first value of a query parameter, percent-decoded as forms are.
 *
 * @throws {NotUtf8Error} for bytes that are no UTF-8: two names that are not could otherwise become the same
 */
export function queryParameter(request: HandshakeRequest, name: string): string | undefined {
  for (const pair of requestTarget(request).query.split('&')) {
    const equals = pair.indexOf('=');
    const key = equals < 0 ? pair : pair.slice(0, equals);
    // Who asks for a name that is not UTF-8 asks for none of ours.
    if (formText(key) === name) {
      const value = formText(equals < 0 ? '' : pair.slice(equals + 1));
      if (value === undefined) throw new NotUtf8Error(name);
      return value;
    }
  }
  return undefined;
}

/** A parameter has bytes that are no UTF-8. */
export class NotUtf8Error extends Error {
  constructor(parameter: string) {
    super(`the parameter ${parameter} is not UTF-8`);
    this.name = 'NotUtf8Error';
  }
}

/** Undefined if it is not UTF-8. A percent sign that begins no escape stands for itself. */
export function formText(encoded: string): string | undefined {
  const bytes = Buffer.alloc(Buffer.byteLength(encoded));
  // Node hands on what is no ASCII byte by byte.
  const source = Buffer.from(encoded, /^[\u0000-\u00ff]*$/.test(encoded) ? 'latin1' : 'utf8');
  let length = 0;
  for (let i = 0; i < source.length; i++) {
    let byte = source[i]!;
    if (byte === PLUS) byte = SPACE;
    else if (byte === PERCENT) {
      const hex = source.toString('latin1', i + 1, i + 3);
      if (/^[0-9a-f]{2}$/i.test(hex)) {
        byte = Number.parseInt(hex, 16);
        i += 2;
      }
    }
    bytes[length++] = byte;
  }
  const text = bytes.subarray(0, length);
  return isUtf8(text) ? text.toString() : undefined;
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
    // No escapes: a cookie may hold a percent sign of its own.
    return value;
  }
}

/** The subprotocols that the client offers, in its order. */
export function offeredProtocols(request: HandshakeRequest): string[] {
  const header = request.headers['sec-websocket-protocol'];
  return header === undefined ? [] : header.split(',').map((name) => name.trim());
}

/** The query parameter in which a page shows a ticket. */
export const TICKET_PARAMETER = 'ticket';
/** What begins the name of a subprotocol in which it does: see docs/wire.md, Opening. */
const TICKET_PROTOCOL = 'ticket.';

/** Whether a subprotocol is a ticket, and no language. */
export function isTicketProtocol(protocol: string): boolean {
  return protocol.startsWith(TICKET_PROTOCOL);
}

/** The ticket that the page shows as the name of a subprotocol. */
export function protocolTicket(request: HandshakeRequest): string | undefined {
  return offeredProtocols(request).find(isTicketProtocol)?.slice(TICKET_PROTOCOL.length);
}

const UNIX = 'unix:';

/** Whose X-Forwarded-For is believed. */
export interface Proxies {
  list: BlockList;
  /** Those on a Unix socket, who have no address. */
  isUnix: boolean;
}

/**
 * Addresses whose X-Forwarded-For is believed.
 *
 * @param proxies addresses or CIDR blocks, such as `127.0.0.1` or `10.0.0.0/8`; `unix:` for whoever connects by a Unix socket
 * @throws {TypeError} for anything else
 */
export function trustedProxies(proxies: readonly string[]): Proxies {
  if (!Array.isArray(proxies)) throw new TypeError("proxies must be an array, such as ['10.0.0.0/8']");
  const list = new BlockList();
  for (const proxy of proxies) {
    if (proxy === UNIX) continue;
    const { address = '', bits } = /^(?<address>[^/]+)(?:\/(?<bits>\d{1,3}))?$/.exec(proxy)?.groups ?? {};
    const family = isIPv4(address) ? 'ipv4' : isIPv6(address) ? 'ipv6' : undefined;
    const prefix = Number(bits ?? (family === 'ipv4' ? 32 : 128));
    const most = family === 'ipv4' ? 32 : 128;
    if (family === undefined || prefix > most) {
      throw new TypeError(`proxies: ${JSON.stringify(proxy)} is no address and no CIDR block`);
    }
    list.addSubnet(address, prefix, family);
  }
  return { list, isUnix: proxies.includes(UNIX) };
}

/** The client's address: the nearest hop that is no trusted proxy. Empty for who connects by a Unix socket. */
export function clientAddress(request: HandshakeRequest, proxies: Proxies): string {
  let address = plainAddress(request.socket.remoteAddress ?? '');
  const header = request.headers['x-forwarded-for'];
  const hops = (Array.isArray(header) ? header.join(',') : (header ?? '')).split(',');
  while (hops.length > 0 && isTrusted(address, proxies)) {
    const hop = addressOfHop(hops.pop()!);
    if (hop === undefined) break;
    address = hop;
  }
  return address;
}

function isTrusted(address: string, { list, isUnix }: Proxies): boolean {
  if (address === '') return isUnix;
  if (isIPv4(address)) return list.check(address, 'ipv4');
  return isIPv6(address) && list.check(address, 'ipv6');
}

/**
 * Proxies write `203.0.113.7`, `203.0.113.7:51008`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:51008`; some
 * quote it. Undefined for what is no address, such as `unknown`.
 */
function addressOfHop(text: string): string | undefined {
  const hop = text.trim().replace(/^"(.*)"$/, '$1');
  const bare = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(hop)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(hop)?.[1] ?? hop;
  const address = plainAddress(bare);
  return isIPv4(address) || isIPv6(address) ? address : undefined;
}

/** An IPv4 address that a dual-stack socket shows as `::ffff:1.2.3.4` is the same as `1.2.3.4`. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && isIPv4(address.slice(7)) ? address.slice(7) : address;
}

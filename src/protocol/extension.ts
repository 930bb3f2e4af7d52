/** The Sec-WebSocket-Extensions header (RFC 6455 §9.1): parsed in one pass, kept in the order and form it had. */
import { isTokenChar } from './token.ts';

/** A parameter of an extension: `name`, or `name=value`. */
export interface ExtensionParameter {
  /** As it came. */
  readonly name: string;
  /** Undefined for a parameter without `=`. A quoted value is unquoted. */
  readonly value: string | undefined;
}

/** One element of the header: an offer of a client, or what a server agreed to. Names are as they came. */
export interface ExtensionOffer {
  /** Of the extension, such as `permessage-deflate`. */
  readonly name: string;
  /** In order, duplicates included: what they mean is for the extension to say. */
  readonly parameters: readonly ExtensionParameter[];
}

const SPACE = 0x20;
const TAB = 0x09;
const COMMA = 0x2c;
const SEMICOLON = 0x3b;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/**
 * Parses the header's value.
 *
 * @throws {SyntaxError} where it isn't the grammar of §9.1
 */
export function parseExtensions(header: string): ExtensionOffer[] {
  const offers: ExtensionOffer[] = [];
  let at = skipSpace(header, 0);
  for (;;) {
    const name = readToken(header, at);
    at = skipSpace(header, at + name.length);
    const parameters: ExtensionParameter[] = [];
    while (header.charCodeAt(at) === SEMICOLON) {
      at = skipSpace(header, at + 1);
      const parameter = readToken(header, at);
      at = skipSpace(header, at + parameter.length);
      let value: string | undefined;
      if (header.charCodeAt(at) === EQUALS) {
        at = skipSpace(header, at + 1);
        if (header.charCodeAt(at) === QUOTE) {
          const end = closingQuote(header, at);
          value = unquote(header, at + 1, end);
          at = end + 1;
        } else {
          value = readToken(header, at);
          at += value.length;
        }
        at = skipSpace(header, at);
      }
      parameters.push({ name: parameter, value });
    }
    offers.push({ name, parameters });
    if (at === header.length) return offers;
    if (header.charCodeAt(at) !== COMMA) throw unexpected(header, at);
    at = skipSpace(header, at + 1);
  }
}

/** The header's value for these offers. Values that are no token are not known to any extension, so none is quoted. */
export function formatExtensions(offers: Iterable<ExtensionOffer>): string {
  return Array.from(offers, ({ name, parameters }) =>
    [name, ...parameters.map((p) => (p.value === undefined ? p.name : `${p.name}=${p.value}`))].join('; '),
  ).join(', ');
}

function readToken(header: string, start: number): string {
  let end = start;
  while (end < header.length && isTokenChar(header.charCodeAt(end))) end++;
  if (end === start) throw unexpected(header, start);
  return header.slice(start, end);
}

function closingQuote(header: string, start: number): number {
  for (let at = start + 1; at < header.length; at++) {
    const code = header.charCodeAt(at);
    if (code === QUOTE) return at;
    if (code === BACKSLASH) at++;
  }
  throw unexpected(header, header.length);
}

// §9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF".
function unquote(header: string, start: number, end: number): string {
  let value = '';
  let from = start;
  for (let at = start; at < end; at++) {
    if (header.charCodeAt(at) === BACKSLASH) {
      value += header.slice(from, at);
      from = ++at;
    }
    if (!isTokenChar(header.charCodeAt(at))) throw unexpected(header, at);
  }
  if (start === end) throw unexpected(header, end);
  return value + header.slice(from, end);
}

function skipSpace(header: string, start: number): number {
  let at = start;
  while (header.charCodeAt(at) === SPACE || header.charCodeAt(at) === TAB) at++;
  return at;
}

function unexpected(header: string, at: number): SyntaxError {
  return new SyntaxError(
    at >= header.length ? 'Unexpected end of input' : `Unexpected character at index ${at}`,
  );
}

/**
 * Takes out of text for the log what looks like a secret: what applications throw may hold an address with a password, a
 * header, a ticket. The last of several nets: nothing of tidings itself puts secrets into a line.
 */

const HIDDEN = '[hidden]';
const NAMES =
  'access_token|api[-_]?key|auth|authorization|client_secret|cookie|id_token|jwt|passwd|password|pwd|refresh_token|secret|session_?id|set-cookie|sig|signature|ticket|token';

const PATTERNS: readonly [RegExp, string][] = [
  // Credentials of an address: redis://user:password@host.
  [/([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#@'"]{1,500}@/gi, `$1${HIDDEN}@`],
  // Tokens and tickets by their form: JWT, t1.… and s1.…, and what follows an authentication scheme.
  [/\beyJ[\w-]{5,}\.[\w-]*\.[\w-]*/g, HIDDEN],
  [/\b(?:ticket\.)?[ts]1\.[\w-]{8,}\.[\w-]{8,}/g, HIDDEN],
  [/\b([Bb]earer|BEARER|[Bb]asic|BASIC)\s+(?=\S*[\dA-Z=])[\w.~+/=-]{6,}/g, `$1 ${HIDDEN}`],
  // name=value, name: value, "name":"value". A cookie's value goes to the end of the line.
  [/\b((?:set-)?cookie["']?\s*[:=]\s*).+/gi, `$1${HIDDEN}`],
  [new RegExp(`\\b((?:${NAMES})["']?\\s*[=:]\\s*["']?)[^\\s"'&;,)}]{4,}`, 'gi'), `$1${HIDDEN}`],
];

export function redacted(text: string): string {
  let shown = text;
  for (const [pattern, replacement] of PATTERNS) shown = shown.replace(pattern, replacement);
  return shown;
}

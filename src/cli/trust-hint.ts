/** What to do about a server's certificate that is not trusted. */

/** Nobody that is known has signed it. Codes of OpenSSL, as Node has them. */
const UNKNOWN = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** The end of a message about this error; empty for any other. */
export function trustHint(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return UNKNOWN.has(String(code))
    ? ' (NODE_EXTRA_CA_CERTS=FILE names a PEM file of who is to be trusted)'
    : '';
}

/** The settings of TLS on the ports of `tidings serve`. */
import { createSecureContext, type TlsOptions } from 'node:tls';
import { choice, file, reloaded, type TextFile, UsageError } from './options.ts';

export const tlsOptions = {
  tlsCert: reloaded(
    'new pages',
    file(
      'FILE',
      'PEM file of a certificate and its chain: --port and --admin-port speak TLS, HTTP/2 beside HTTP/1.1',
    ),
  ),
  tlsKey: reloaded('new pages', file('FILE', "PEM file of the certificate's key")),
  http2: choice(['on', 'off'], 'Whether HTTP/2 is offered with TLS', 'on'),
};

interface TlsSettings {
  tlsCert: TextFile | undefined;
  tlsKey: TextFile | undefined;
}

/**
 * What the ports speak TLS with; undefined where they don't.
 *
 * @throws {UsageError} for what can't be a certificate and its key
 */
export function tlsOf({ tlsCert, tlsKey }: TlsSettings): TlsOptions | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined;
  if (tlsCert === undefined) throw new UsageError('--tls-key is for a certificate: give --tls-cert, too');
  if (tlsKey === undefined) throw new UsageError('--tls-cert needs its key: give --tls-key, too');
  const tls = { cert: tlsCert.text, key: tlsKey.text };
  try {
    createSecureContext(tls);
  } catch (error) {
    const why = (error as Error).message;
    throw new UsageError(`--tls-cert ${tlsCert.name} and --tls-key ${tlsKey.name} can't be used: ${why}`);
  }
  return tls;
}

/** Environment variables that begin as ours do, but are others'. */

/** What Kubernetes sets in every container for a Service, here one whose name begins with "tidings". */
const OF_A_SERVICE =
  /_SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;
const ITS_ADDRESS = /^(?:tcp|udp|sctp):\/\//;

export function isOfKubernetes(name: string, value: string): boolean {
  return OF_A_SERVICE.test(name) || (name.endsWith('_PORT') && ITS_ADDRESS.test(value));
}

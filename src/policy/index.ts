/**
 * `tidings/policy`: Flash socket policies, on a port of their own and in-band on an HTTP port.
 *
 * @module tidings/policy
 */
export { policyTakeover } from './exchange.ts';
export { answerInBand } from './in-band.ts';
export {
  buildPolicyFile,
  explainUnreachableGrants,
  type PolicyGrant,
  type PolicyOptions,
} from './policy-file.ts';
export { encodePolicyAnswer, isPolicyRequest, POLICY_REQUEST, UNRECOGNISED } from './policy-request.ts';
export { PolicyServer, type PolicyServerOptions } from './policy-server.ts';

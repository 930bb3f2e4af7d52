/** The settings of the Flash policy of `tidings serve`. */
import { checked, list, text } from './options.ts';

export const policyOptions = {
  policyPort: checked(
    text('PORT|off', 'Port of the Flash policy server; default: 843 where --policy-allow is given'),
    (port) =>
      port === 'off' || (/^\d{1,5}$/.test(port) && Number(port) <= 65_535)
        ? undefined
        : 'must be a port or off',
  ),
  policyAllow: list(
    'DOMAIN:PORTS',
    'Flash content of this site may connect to these ports, such as app.example.com:80,443; may be repeated',
    /\s+/,
  ),
};

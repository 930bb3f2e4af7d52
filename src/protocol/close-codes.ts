/** The close codes of RFC 6455 §7.4 as registered with IANA ("WebSocket Close Code Number"). */

/** `onWire` is whether a close frame may carry the code (§7.4.1). */
export interface CloseCodeEntry {
  /** 1000 to 4999. */
  readonly code: number;
  /** A short name for messages, such as `Going Away`. */
  readonly name: string;
  /** Whether a close frame may carry it (§7.4.1): 1005, 1006 and 1015 only report. */
  readonly onWire: boolean;
}

/** The codes that RFC 6455 and its registry name, in order. */
export const closeCodes: readonly CloseCodeEntry[] = [
  { code: 1000, name: 'Normal Closure', onWire: true },
  { code: 1001, name: 'Going Away', onWire: true },
  { code: 1002, name: 'Protocol Error', onWire: true },
  { code: 1003, name: 'Unsupported Data', onWire: true },
  { code: 1004, name: 'Reserved', onWire: false },
  { code: 1005, name: 'No Status Received', onWire: false },
  { code: 1006, name: 'Abnormal Closure', onWire: false },
  { code: 1007, name: 'Invalid Frame Payload Data', onWire: true },
  { code: 1008, name: 'Policy Violation', onWire: true },
  { code: 1009, name: 'Message Too Big', onWire: true },
  { code: 1010, name: 'Mandatory Extension', onWire: true },
  { code: 1011, name: 'Internal Error', onWire: true },
  { code: 1012, name: 'Service Restart', onWire: true },
  { code: 1013, name: 'Try Again Later', onWire: true },
  { code: 1014, name: 'Bad Gateway', onWire: true },
  { code: 1015, name: 'TLS Handshake', onWire: false },
];

const registered = new Set(closeCodes.filter((entry) => entry.onWire).map((entry) => entry.code));

/** Whether a close frame may carry this code: what IANA lists for the wire, and 3000–4999 (§7.4.2). */
export function isValidCloseCode(code: number): boolean {
  return registered.has(code) || (Number.isInteger(code) && code >= 3000 && code <= 4999);
}

/** A frame as somebody who follows it may see it: never a ticket, and data only where that is allowed. */

/** Characters of a frame that are shown. */
const MOST_SHOWN = 4_096;
/** Bytes of a frame that is looked into. */
const MOST_READ = 256 * 1024;
const HIDDEN = '…';
/** Fields that carry what somebody could sign in with. */
const SECRET = new Set(['ticket', 'tickets', 'token']);
/** Fields of the wire whose values say nothing of what is sent; those of other names are hidden with the data. */
const OPEN = new Set(
  `type channel channels epoch offset id time expires expiresIn session instance user heartbeat interval timeout position
  positions topics device start states state presence ref as messages upTo before limit reason users joined left total
  encoding unresolved gone changed version counts unseen unread all first last most seen read archived rewound recovered
  acked duplicate behind window code message ttl`.split(/\s+/),
);
/** Their keys are names of channels. */
const BY_CHANNEL = new Set(['channels', 'positions', 'states']);

export interface ShownFrame {
  /** Of the whole frame. */
  bytes: number;
  /** Of a frame of `tidings.1`, or of what a page in plain mode sends or gets; left out where that is hidden. */
  text?: string;
  /** It was longer. */
  cut?: true;
  binary?: true;
}

export function shownFrame(
  data: string | Buffer,
  isBinary: boolean,
  isTidings: boolean,
  withData: boolean,
): ShownFrame {
  const bytes = typeof data === 'string' ? Buffer.byteLength(data) : data.length;
  if (isBinary) {
    const binary = { bytes, binary: true as const };
    return withData
      ? { ...binary, ...shortened(Buffer.from(data).subarray(0, MOST_SHOWN).toString('base64')) }
      : binary;
  }
  if (bytes > MOST_READ) return { bytes, cut: true };
  const text = data.toString();
  if (isTidings) return { bytes, ...shortened(shownJson(text, withData)) };
  const isHeartbeat = text === 'ping' || text === '"ping"' || text === 'hb_ok';
  return withData || isHeartbeat ? { bytes, ...shortened(text) } : { bytes };
}

function shortened(text: string): Pick<ShownFrame, 'text' | 'cut'> {
  return text.length <= MOST_SHOWN ? { text } : { text: text.slice(0, MOST_SHOWN), cut: true };
}

function shownJson(text: string, withData: boolean): string {
  let isChanged = false;
  const look = (value: unknown, areNames: boolean): unknown => {
    if (Array.isArray(value)) return value.map((item) => look(item, false));
    if (typeof value !== 'object' || value === null) return value;
    const shown: [string, unknown][] = [];
    for (const [name, inner] of Object.entries(value)) {
      const isOpen = areNames || OPEN.has(name);
      const isHidden = SECRET.has(name) || !(withData || isOpen);
      if (isHidden) isChanged = true;
      // What is in the data is not of the wire.
      const isOfWire = isOpen && !SECRET.has(name);
      shown.push([name, isHidden ? HIDDEN : isOfWire ? look(inner, BY_CHANNEL.has(name)) : inner]);
    }
    return Object.fromEntries(shown);
  };
  try {
    const shown = look(JSON.parse(text), false);
    // As it came: numbers may be longer than JavaScript's.
    return isChanged ? JSON.stringify(shown) : text;
  } catch {
    // It is no JSON, or too deep: nobody knows what is in it.
    return HIDDEN;
  }
}

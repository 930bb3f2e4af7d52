/**
 * W3C Trace Context: what `traceparent` and `tracestate` say, and the short form in which it is stored with a message.
 * What is not as the specification has it counts as not given.
 */

export interface TraceContext {
  /** 32 and 16 lower-case hexadecimal digits. */
  readonly traceId: string;
  readonly spanId: string;
  readonly isSampled: boolean;
  /** `tracestate`, as far as it is kept. */
  readonly state: string | undefined;
}

const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
/** Longer than any that makes sense, of whatever version. */
const MAX_PARENT = 512;
const MEMBER =
  /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;
const NOT_OF_A_STATE = /[^\t -~]/;
const MAX_MEMBERS = 32;
/** Characters of `tracestate` that are looked at, and of its stored form: the members in front are kept, as the newest. */
const MAX_STATE = 8_192;
const KEPT_STATE = 256;

/** Of headers, or whatever was given. */
export function parseTrace(traceparent: unknown, tracestate?: unknown): TraceContext | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > MAX_PARENT) return undefined;
  const [, version, traceId, spanId, flags, more] = PARENT.exec(traceparent) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) return undefined;
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined;
  const isSampled = (Number.parseInt(flags!, 16) & 1) === 1;
  return { traceId: traceId!, spanId: spanId!, isSampled, state: checkedState(tracestate) };
}

/** One member that can't be makes all of it worth nothing. */
function checkedState(state: unknown): string | undefined {
  if (typeof state !== 'string' || state.length > MAX_STATE || NOT_OF_A_STATE.test(state)) return undefined;
  // Of what is left, only spaces and tabs are trimmed.
  const members = state
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '');
  if (members.length === 0 || members.length > MAX_MEMBERS) return undefined;
  if (!members.every((member) => MEMBER.test(member))) return undefined;
  if (new Set(members.map((member) => member.split('=', 1)[0])).size < members.length) return undefined;
  let length = -1;
  const kept = members.filter((member) => {
    length += stored(member).length + 1;
    return length <= KEPT_STATE;
  });
  return kept.length === 0 ? undefined : kept.join(',');
}

const ID_BYTES = 24;

/** 32 characters, and with a state more: none of them a space. */
export function encodeTrace({ traceId, spanId, state }: TraceContext): string {
  const ids = Buffer.from(traceId + spanId, 'hex').toString('base64url');
  if (state === undefined) return ids;
  return `${ids};${stored(state)}`;
}

function stored(state: string): string {
  return state.replace(/[% ]/g, encodeURIComponent);
}

/** Undefined for what is none, as anybody may write to the store. Only what is sampled is stored. */
export function decodeTrace(stored: string): TraceContext | undefined {
  const ids = Buffer.from(stored.slice(0, 32), 'base64url');
  if (ids.length !== ID_BYTES || (stored.length > 32 && stored[32] !== ';')) return undefined;
  const hex = ids.toString('hex');
  const parent = `00-${hex.slice(0, 32)}-${hex.slice(32)}-01`;
  const state = stored.slice(33).replaceAll('%20', ' ').replaceAll('%25', '%');
  return parseTrace(parent, state === '' ? undefined : state);
}

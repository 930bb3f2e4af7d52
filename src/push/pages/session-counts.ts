/** How many sessions there are and were, by mode and transport, and how they have ended: plain numbers, for metrics. */
import { TRANSPORT_KINDS, type TransportKind } from '../../server/transport.ts';
import { CloseCode, SUBPROTOCOL } from '../talk/wire.ts';

const MODES = ['plain', SUBPROTOCOL] as const;

/** Codes of RFC 6455 §7.4.1 and its registry, and tidings' own. Of all others only the range is told. */
const CODES: readonly number[] = [
  1000,
  1001,
  1002,
  1003,
  1005,
  1006,
  1007,
  1008,
  1009,
  1010,
  1011,
  1012,
  1013,
  1014,
  ...Object.values(CloseCode),
];
const RANGES = ['3000-3999', '4000-4499', '4500-4999', 'other'] as const;
/** Under which a close is counted. */
export const CLOSE_CLASSES: readonly string[] = [...CODES.map(String), ...RANGES];

/**
 * Why a session was closed as too slow: it took nothing for `limits.stall`, as much again as the outbox has was to be
 * answered, or too much waited for its hello.
 */
export const SLOWNESS = ['stalled', 'answers', 'hello'] as const;
export type Slowness = (typeof SLOWNESS)[number];

/** What tells sessions apart here. */
export interface Counted {
  readonly isTidings: boolean;
  readonly transport: { readonly kind?: TransportKind };
}

export class SessionCounts {
  /** Open now, and since the start: by mode, and within each by transport. */
  readonly #open: number[] = new Array(MODES.length * TRANSPORT_KINDS.length).fill(0);
  readonly #opened: number[] = [...this.#open];
  readonly closed: number[] = new Array(CLOSE_CLASSES.length).fill(0);
  readonly slow: Record<Slowness, number> = { stalled: 0, answers: 0, hello: 0 };

  opens(session: Counted): void {
    const at = indexOf(session);
    this.#open[at]!++;
    this.#opened[at]!++;
  }

  /** It is not among those any more that are open. */
  leaves(session: Counted): void {
    this.#open[indexOf(session)]!--;
  }

  /** Its connection is over. A code may be anything that a client says. */
  closes(code: number): void {
    this.closed[classOf(code)]!++;
  }

  /** @returns each mode with each transport, and how many are open, and were since the start */
  *[Symbol.iterator](): Generator<[mode: string, kind: TransportKind, open: number, opened: number]> {
    for (const [i, mode] of MODES.entries()) {
      for (const [k, kind] of TRANSPORT_KINDS.entries()) {
        const at = i * TRANSPORT_KINDS.length + k;
        yield [mode, kind, this.#open[at]!, this.#opened[at]!];
      }
    }
  }
}

function indexOf({ isTidings, transport: { kind = 'websocket' } }: Counted): number {
  return Number(isTidings) * TRANSPORT_KINDS.length + TRANSPORT_KINDS.indexOf(kind);
}

function classOf(code: number): number {
  const known = CODES.indexOf(code);
  if (known >= 0) return known;
  const range = code >= 3000 && code < 5000 ? (code < 4000 ? 0 : code < 4500 ? 1 : 2) : 3;
  return CODES.length + range;
}

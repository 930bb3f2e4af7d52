/** A test case and one run of it: what was expected, what came, and the verdict in the Autobahn suite's words. */
import type { DeflateRequest } from './deflate.ts';
import type { Endpoint, EndpointListener } from './endpoint.ts';
import { preview } from './wire-log.ts';

export type Behavior =
  | 'OK'
  | 'NON-STRICT'
  | 'INFORMATIONAL'
  | 'UNIMPLEMENTED'
  | 'WRONG CODE'
  | 'UNCLEAN'
  | 'FAILED BY CLIENT'
  | 'FAILED';

/** What the peer did, in order; `timeout` is a wait of the runner that the connection outlived. */
export type PeerEvent =
  | { type: 'message'; data: Buffer; isBinary: boolean }
  | { type: 'ping' | 'pong'; data: Buffer }
  | { type: 'timeout'; tag: string };

export interface ExpectedClose {
  /** Whether the runner is the one to start the closing handshake. */
  closedByMe: boolean;
  /** Codes that the peer may send; none at all is always accepted. The first is the one the runner closes with. */
  codes: number[];
  /** Whether a whole closing handshake is required, not only the end of the connection. */
  requireClean: boolean;
  /** Whether the wrong side closing means that the peer missed what the case is about. */
  wrongEndpointIsFatal?: boolean;
  /** Whether other codes are non-strict rather than wrong, as the RFC leaves the code to the peer. */
  codeIsOpen?: boolean;
}

/** What a peer may do instead of failing the connection, where the RFC does not say that it must. */
export interface Tolerance {
  /** What comes then. With nothing, the peer waits until time is up. */
  events: PeerEvent[];
  /** Whether the peer can still see the runner's Close frame, so that it has to answer it. */
  canClose: boolean;
}

export interface CaseDefinition {
  id: string;
  description: string;
  expectation: string;
  /** What permessage-deflate is offered or accepted; without it the case runs uncompressed. */
  deflate?: DeflateRequest[];
  /** Whether the duration is worth showing. */
  isTimed?: boolean;
  start(run: CaseRun): void;
}

export class CaseRun implements EndpointListener {
  readonly definition: CaseDefinition;
  /** How many messages a compression case sends. */
  readonly messages: number;
  readonly received: PeerEvent[] = [];
  /** What may come, per verdict; the first that fits counts. */
  expected: { OK?: PeerEvent[]; 'NON-STRICT'?: PeerEvent[] } = {};
  expectedClose: ExpectedClose = { closedByMe: true, codes: [1000], requireClean: true };
  behavior: Behavior = 'FAILED';
  behaviorClose: Behavior = 'FAILED';
  result = 'What came fits nothing that was expected.';
  resultClose = '';
  /** Set where the peer need not fail the connection: then that it does not is non-strict. */
  tolerance: Tolerance | undefined;
  /** What was waited for in vain, and how long. */
  readonly waits: string[] = [];
  /** Says what a case waits for that keeps no list of expected events. */
  waiting: (() => string) | undefined;
  /** Set where the case closes by itself. */
  closesByItself = false;
  /** Takes the messages instead of `received`. */
  takeMessage: ((data: Buffer, isBinary: boolean) => void) | undefined;
  /** Runs after the verdict, to amend it. */
  amend: (() => void) | undefined;

  /** Called when there is a verdict. */
  onDone: (() => void) | undefined;

  #endpoint: Endpoint | undefined;

  constructor(definition: CaseDefinition, messages: number) {
    this.definition = definition;
    this.messages = messages;
  }

  get endpoint(): Endpoint {
    if (!this.#endpoint) throw new Error(`case ${this.definition.id} is not connected`);
    return this.#endpoint;
  }

  begin(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    if (this.definition.deflate && !endpoint.deflate) {
      this.behavior = 'UNIMPLEMENTED';
      this.result = 'The peer did not agree on permessage-deflate.';
      endpoint.sendClose(1000);
      return;
    }
    this.definition.start(this);
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    if (this.behavior === 'UNIMPLEMENTED') return;
    if (this.takeMessage) this.takeMessage(data, isBinary);
    else this.#record({ type: 'message', data, isBinary });
  }

  onPing(data: Buffer): void {
    this.#record({ type: 'ping', data });
  }

  onPong(data: Buffer): void {
    this.#record({ type: 'pong', data });
  }

  onLate(ms: number): void {
    this.waits.push(`${ms / 1000} s for ${this.waitsFor}`);
    this.endpoint.log.note(`waited ${this.waits.at(-1)}`);
  }

  /** What has to happen next for the case to go on. */
  get waitsFor(): string {
    if (!this.#endpoint) return 'the opening handshake';
    const closing = this.#endpoint.awaited;
    if (closing !== undefined) return closing;
    if (this.waiting) return this.waiting();
    const next = this.expected.OK?.[this.received.length];
    if (next && next.type !== 'timeout') return `the ${describe(next)}`;
    return this.expectedClose.closedByMe ? 'what was expected' : 'the peer to fail the connection';
  }

  onLost(): void {
    this.#judge();
    this.onDone?.();
  }

  /** Ends a case that judges by itself, with its verdict. */
  conclude(behavior: Behavior, result: string): void {
    this.behavior = behavior;
    this.result = result;
    this.endpoint.log.isOn = true;
    this.endpoint.sendClose(1000);
  }

  #record(event: PeerEvent): void {
    this.received.push(event);
    if (this.tolerance && event.type === 'message' && isEqual(this.received, this.tolerance.events)) {
      this.endpoint.sendClose(1000);
    }
    if (this.closesByItself || !this.expectedClose.closedByMe) return;
    if (Object.values(this.expected).some((events) => isEqual(this.received, events))) {
      this.endpoint.sendClose(this.expectedClose.codes[0]);
    }
  }

  #judge(): void {
    const { violation, ending } = this.endpoint;
    const isTolerated = this.tolerance !== undefined && ending.closedByMe && !violation;
    if (isTolerated) this.#judgeTolerated(this.tolerance!);
    else this.#judgeExpected();
    this.amend?.();
    if (violation && this.behavior !== 'INFORMATIONAL') {
      this.behavior = 'FAILED';
      this.result = `The peer broke the protocol: ${violation.message}.`;
    }
  }

  /** The peer did not fail the connection, and need not have. */
  #judgeTolerated({ events, canClose }: Tolerance): void {
    if (isEqual(this.received, events)) {
      this.behavior = 'NON-STRICT';
      this.result =
        events.length > 0
          ? 'The peer took what it should not have been sent.'
          : 'The peer neither failed the connection nor answered.';
    }
    const localCode = this.endpoint.ending.localCloseCode ?? 1000;
    this.#judgeClose({ closedByMe: true, codes: [1000, localCode], requireClean: canClose });
    if (!canClose && this.behaviorClose === 'FAILED BY CLIENT') {
      this.behaviorClose = 'NON-STRICT';
      this.resultClose = 'The peer waits for the rest of a frame, so it sees no Close frame.';
    }
  }

  #judgeExpected(): void {
    for (const behavior of ['OK', 'NON-STRICT'] as const) {
      const events = this.expected[behavior];
      if (events && isEqual(this.received, events)) {
        this.behavior = behavior;
        this.result =
          behavior === 'OK'
            ? 'What came is what was expected.'
            : 'What came is allowed, but not what is best.';
        break;
      }
    }
    this.#judgeClose(this.expectedClose);
    const wrongSide = this.expectedClose.closedByMe !== this.endpoint.ending.closedByMe;
    if (this.expectedClose.wrongEndpointIsFatal && wrongSide) {
      this.behavior = 'FAILED';
      this.result = 'The peer did not fail the connection.';
    }
  }

  #judgeClose({ closedByMe, codes, requireClean, codeIsOpen }: ExpectedClose): void {
    const { ending, role } = this.endpoint;
    const code = ending.remoteCloseCode;
    if (closedByMe !== ending.closedByMe) {
      this.behaviorClose = 'FAILED';
      this.resultClose = `The ${closedByMe ? 'peer' : 'runner'} closed the connection, not the ${closedByMe ? 'runner' : 'peer'}.`;
    } else if (requireClean && !ending.wasClean) {
      this.behaviorClose = 'UNCLEAN';
      this.resultClose = `No whole closing handshake: ${ending.wasNotCleanReason ?? 'it did not finish'}.`;
    } else if (code !== null && !codes.includes(code)) {
      this.behaviorClose = codeIsOpen ? 'NON-STRICT' : 'WRONG CODE';
      this.resultClose = `The peer closed with ${code} instead of ${codes.join(' or ')} or none.`;
    } else if (role === 'client' && ending.droppedByMe) {
      this.behaviorClose = 'FAILED BY CLIENT';
      this.resultClose = 'The server left it to the client to close the TCP connection (§7.1.1).';
    } else {
      this.behaviorClose = 'OK';
      this.resultClose = 'The connection was closed as it should be.';
    }
  }
}

export function describe(event: PeerEvent): string {
  if (event.type === 'timeout') return `wait ${event.tag} passed`;
  const type = event.type === 'message' ? `${event.isBinary ? 'binary' : 'text'} message` : event.type;
  return `${type} ${preview(event.data)}`;
}

function isEqual(some: PeerEvent[], others: PeerEvent[]): boolean {
  return some.length === others.length && some.every((event, i) => isSameEvent(event, others[i]!));
}

function isSameEvent(one: PeerEvent, other: PeerEvent): boolean {
  if (one.type === 'timeout' || other.type === 'timeout') {
    return one.type === 'timeout' && other.type === 'timeout' && one.tag === other.tag;
  }
  if (one.type === 'message' && other.type === 'message' && one.isBinary !== other.isBinary) return false;
  return one.type === other.type && one.data.equals(other.data);
}

export function message(data: string | Buffer, isBinary = false): PeerEvent {
  return { type: 'message', data: Buffer.from(data as string), isBinary };
}

export function pong(data: string | Buffer = ''): PeerEvent {
  return { type: 'pong', data: Buffer.from(data as string) };
}

/** The peer must answer with `events`; then the runner closes with 1000, cleanly. */
export function answers(run: CaseRun, ...events: PeerEvent[]): void {
  run.expected = { OK: events };
  run.expectedClose = { closedByMe: true, codes: [1000], requireClean: true };
}

/**
 * The peer must fail the connection with `code` after having answered with `events`. Having answered with none
 * of them is non-strict: they came first, but the closing may have overtaken the answers.
 */
export function refuses(run: CaseRun, code: number, ...events: PeerEvent[]): void {
  run.expected = events.length > 0 ? { OK: events, 'NON-STRICT': [] } : { OK: [] };
  run.expectedClose = { closedByMe: false, codes: [code], requireClean: false };
}

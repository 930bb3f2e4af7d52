/** Runs cases: as a client against a server's address, or one connection that came to the listening side. */
import { setMaxListeners } from 'node:events';
import type { Duplex } from 'node:stream';
import { type Behavior, type CaseDefinition, CaseRun, describe } from './case.ts';
import { answerOffers, type DeflateSettings, formatOffers, readAnswer } from './deflate.ts';
import { type Ending, freshEnding } from './ending.ts';
import { Endpoint } from './endpoint.ts';
import { type Arrival, type Dial, dial as dialByUpgrade, HandshakeTimeout } from './handshake.ts';
import { type WireEntry, WireLog } from './wire-log.ts';

export interface CaseResult {
  /** Its place among all cases that are run, from 1. */
  case: number;
  id: string;
  agent: string;
  description: string;
  expectation: string;
  behavior: Behavior;
  behaviorClose: Behavior;
  result: string;
  resultClose: string;
  /** When, as ISO 8601. */
  started: string;
  /** Milliseconds. */
  duration: number;
  isTimed: boolean;
  expected: Record<string, string[]>;
  received: string[];
  /** What the case waited for in vain, such as `5 s for the peer's Close frame`. */
  waits: string[];
  ending: Ending;
  httpRequest: string;
  httpResponse: string;
  wirelog: WireEntry[];
  /** Chunks by size and frames by opcode. */
  stats: Record<'rxOctets' | 'rxFrames' | 'txOctets' | 'txFrames', Record<string, number>>;
  /** Octets on the wire per octet of message, where messages were compressed. */
  compression: { incoming: number; outgoing: number } | null;
}

export interface RunOptions {
  agent: string;
  /** The case's place among those that are run, from 1. */
  index: number;
  /** Factor on all time limits. */
  patience: number;
  /** How many messages a compression case sends. Default 1000, as in the Autobahn suite. */
  messages?: number | undefined;
  /** Aborted, it drops the connections of cases under way. Their results mean nothing then. */
  signal?: AbortSignal | undefined;
  /** How a server is asked for a WebSocket. Default: by an upgrade. */
  dial?: Dial | undefined;
  onStart?: ((running: RunningCase) => void) | undefined;
}

/** A case under way. */
export interface RunningCase {
  readonly id: string;
  /** By `performance.now()`. */
  readonly since: number;
  /** What has to happen next for it to go on. */
  waitsFor(): string;
}

interface Handshake {
  request: string;
  response: string;
}

/** Connects to `url` and runs one case against the server there. Never rejects: what fails is in the result. */
export async function runAgainstServer(
  definition: CaseDefinition,
  url: URL,
  options: RunOptions,
): Promise<CaseResult> {
  const offers = definition.deflate && formatOffers(definition.deflate);
  const { dial = dialByUpgrade } = options;
  const started = new Date();
  const handshake: Handshake = { request: '', response: '' };
  const run = begin(definition, options);
  try {
    const { socket, request, response } = await dial(url, offers, 5000 * options.patience, options.signal);
    handshake.request = request;
    handshake.response = response.raw;
    let deflate: DeflateSettings | undefined;
    try {
      deflate = readAnswer(response.headers.get('sec-websocket-extensions'), definition.deflate ?? []);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return await runOn(run, socket, response.rest, 'client', deflate, handshake, options);
  } catch (error) {
    return neverOpened(definition, started, handshake, options, error as Error);
  }
}

/** Runs one case on a connection that was asked for lawfully. */
export async function runAgainstClient(
  definition: CaseDefinition,
  arrival: Arrival,
  options: RunOptions,
): Promise<CaseResult> {
  const { socket, request } = arrival;
  const started = new Date();
  const handshake: Handshake = { request: request.raw, response: '' };
  const run = begin(definition, options);
  try {
    const agreed =
      definition.deflate && answerOffers(request.headers.get('sec-websocket-extensions'), definition.deflate);
    handshake.response = arrival.accept(agreed?.answer);
    return await runOn(run, socket, request.rest, 'server', agreed?.settings, handshake, options);
  } catch (error) {
    socket.destroy();
    return neverOpened(definition, started, handshake, options, error as Error);
  }
}

/** Tells that a case runs. */
function begin(definition: CaseDefinition, { messages, onStart }: RunOptions): CaseRun {
  const run = new CaseRun(definition, messages ?? 1000);
  onStart?.({ id: definition.id, since: performance.now(), waitsFor: () => run.waitsFor });
  return run;
}

function runOn(
  run: CaseRun,
  socket: Duplex,
  rest: Buffer,
  role: 'server' | 'client',
  deflate: DeflateSettings | undefined,
  handshake: Handshake,
  options: RunOptions,
): Promise<CaseResult> {
  return new Promise((resolve) => {
    const started = new Date();
    const begin = performance.now();
    const log = new WireLog();
    const abort = (): void => void socket.destroy();
    options.signal?.addEventListener('abort', abort);
    if (options.signal?.aborted) abort();
    run.onDone = () => {
      options.signal?.removeEventListener('abort', abort);
      const { sentMessages, sentPayload, receivedMessages, receivedPayload } = endpoint.traffic;
      const wasCompressed = endpoint.deflate && sentMessages > 0 && receivedMessages > 0;
      resolve({
        ...identify(run.definition, started, handshake, options),
        behavior: run.behavior,
        behaviorClose: run.behaviorClose,
        result: run.result,
        resultClose: run.resultClose,
        duration: Math.round(performance.now() - begin),
        expected: Object.fromEntries(
          Object.entries(run.expected).map(([verdict, events]) => [verdict, events.map(describe)]),
        ),
        received: run.received.map(describe),
        waits: run.waits,
        ending: endpoint.ending,
        wirelog: log.entries,
        stats: {
          rxOctets: Object.fromEntries(log.received.octets),
          rxFrames: Object.fromEntries(log.received.frames),
          txOctets: Object.fromEntries(log.sent.octets),
          txFrames: Object.fromEntries(log.sent.frames),
        },
        compression: wasCompressed
          ? { incoming: receivedPayload / receivedMessages, outgoing: sentPayload / sentMessages }
          : null,
      });
    };
    const endpoint = new Endpoint(socket, run, { role, deflate, patience: options.patience, log });
    run.begin(endpoint);
    endpoint.start(rest);
  });
}

type Identity = Pick<
  CaseResult,
  | 'case'
  | 'id'
  | 'agent'
  | 'description'
  | 'expectation'
  | 'isTimed'
  | 'started'
  | 'httpRequest'
  | 'httpResponse'
>;

function identify(
  definition: CaseDefinition,
  started: Date,
  handshake: Handshake,
  options: RunOptions,
): Identity {
  return {
    case: options.index,
    id: definition.id,
    agent: options.agent,
    description: definition.description,
    expectation: definition.expectation,
    isTimed: definition.isTimed ?? false,
    started: started.toISOString(),
    httpRequest: handshake.request,
    httpResponse: handshake.response,
  };
}

function neverOpened(
  definition: CaseDefinition,
  started: Date,
  handshake: Handshake,
  options: RunOptions,
  error: Error,
): CaseResult {
  const ending = freshEnding();
  ending.wasNotCleanReason = error.message;
  ending.wasOpenHandshakeTimeout = error instanceof HandshakeTimeout;
  return {
    ...identify(definition, started, handshake, options),
    behavior: 'FAILED',
    behaviorClose: 'FAILED',
    result: `The opening handshake failed: ${error.message}.`,
    resultClose: 'The connection was never open.',
    duration: Date.now() - started.getTime(),
    expected: {},
    received: [],
    waits:
      error instanceof HandshakeTimeout ? [`${error.timeout / 1000} s for the answer to the handshake`] : [],
    ending,
    wirelog: [],
    stats: { rxOctets: {}, rxFrames: {}, txOctets: {}, txFrames: {} },
    compression: null,
  };
}

/**
 * Runs all `definitions`, `parallel` at a time, and returns their results in order. Ends early where `signal` is
 * aborted: what was under way or had not begun has no result.
 */
export async function runAll(
  definitions: CaseDefinition[],
  url: URL,
  options: Omit<RunOptions, 'index'> & { parallel: number; onResult?: (result: CaseResult) => void },
): Promise<CaseResult[]> {
  // Each case under way listens.
  if (options.signal) setMaxListeners(0, options.signal);
  const results: CaseResult[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < definitions.length && !options.signal?.aborted) {
      const index = next++;
      const result = await runAgainstServer(definitions[index]!, url, { ...options, index: index + 1 });
      if (options.signal?.aborted) return;
      results[index] = result;
      options.onResult?.(result);
    }
  };
  const all = Promise.all(Array.from({ length: options.parallel }, worker));
  await Promise.race([all, whenAborted(options.signal)]);
  return results.filter((result) => result !== undefined);
}

/** Resolves when `signal` is aborted; never without one. */
export function whenAborted(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) resolve();
    else signal?.addEventListener('abort', () => resolve(), { once: true });
  });
}

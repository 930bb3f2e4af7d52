/** Runs cases: as a client against a server's address, or one connection that came to the listening side. */
import type { Socket } from 'node:net';
import { type Behavior, type CaseDefinition, CaseRun, type PeerEvent } from './case.ts';
import { answerOffers, type DeflateSettings, formatOffers, readAnswer } from './deflate.ts';
import { type Ending, Endpoint, freshEnding } from './endpoint.ts';
import { acceptUpgrade, dial, HandshakeTimeout, type Head } from './handshake.ts';
import { preview, type WireEntry, WireLog } from './wire-log.ts';

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
  const started = new Date();
  const handshake: Handshake = { request: '', response: '' };
  try {
    const { socket, request, response } = await dial(url, offers, 5000 * options.patience);
    handshake.request = request;
    handshake.response = response.raw;
    let deflate: DeflateSettings | undefined;
    try {
      deflate = readAnswer(response.headers.get('sec-websocket-extensions'), definition.deflate ?? []);
    } catch (error) {
      socket.destroy();
      throw error;
    }
    return await runOn(socket, response.rest, definition, 'client', deflate, handshake, options);
  } catch (error) {
    return neverOpened(definition, started, handshake, options, error as Error);
  }
}

/** Runs one case on a connection whose upgrade request, a lawful one, has been read. */
export async function runAgainstClient(
  definition: CaseDefinition,
  socket: Socket,
  request: Head,
  options: RunOptions,
): Promise<CaseResult> {
  const started = new Date();
  const handshake: Handshake = { request: request.raw, response: '' };
  try {
    const agreed =
      definition.deflate && answerOffers(request.headers.get('sec-websocket-extensions'), definition.deflate);
    handshake.response = acceptUpgrade(socket, request, agreed?.answer);
    return await runOn(socket, request.rest, definition, 'server', agreed?.settings, handshake, options);
  } catch (error) {
    socket.destroy();
    return neverOpened(definition, started, handshake, options, error as Error);
  }
}

function runOn(
  socket: Socket,
  rest: Buffer,
  definition: CaseDefinition,
  role: 'server' | 'client',
  deflate: DeflateSettings | undefined,
  handshake: Handshake,
  options: RunOptions,
): Promise<CaseResult> {
  return new Promise((resolve) => {
    const started = new Date();
    const begin = performance.now();
    const log = new WireLog();
    const run = new CaseRun(definition, options.messages ?? 1000, () => {
      const { sentMessages, sentPayload, receivedMessages, receivedPayload } = endpoint.traffic;
      const wasCompressed = endpoint.deflate && sentMessages > 0 && receivedMessages > 0;
      resolve({
        ...identify(definition, started, handshake, options),
        behavior: run.behavior,
        behaviorClose: run.behaviorClose,
        result: run.result,
        resultClose: run.resultClose,
        duration: Math.round(performance.now() - begin),
        expected: Object.fromEntries(
          Object.entries(run.expected).map(([verdict, events]) => [verdict, events.map(describe)]),
        ),
        received: run.received.map(describe),
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
    });
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
    ending,
    wirelog: [],
    stats: { rxOctets: {}, rxFrames: {}, txOctets: {}, txFrames: {} },
    compression: null,
  };
}

function describe(event: PeerEvent): string {
  if (event.type === 'timeout') return `wait ${event.tag} passed`;
  const type = event.type === 'message' ? `${event.isBinary ? 'binary' : 'text'} message` : event.type;
  return `${type} ${preview(event.data)}`;
}

/** Runs all `definitions`, `parallel` at a time, and returns their results in order. */
export async function runAll(
  definitions: CaseDefinition[],
  url: URL,
  options: Omit<RunOptions, 'index'> & { parallel: number; onResult?: (result: CaseResult) => void },
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < definitions.length) {
      const index = next++;
      const result = await runAgainstServer(definitions[index]!, url, { ...options, index: index + 1 });
      results[index] = result;
      options.onResult?.(result);
    }
  };
  await Promise.all(Array.from({ length: options.parallel }, worker));
  return results;
}

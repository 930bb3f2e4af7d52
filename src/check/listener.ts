/**
 * The listening side of the conformance runner: clients fetch the number of cases, run one per connection by
 * echoing, and ask for the report, over the addresses that drivers for the Autobahn suite use.
 */
import { EventEmitter, once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { CaseDefinition } from './case.ts';
import { Endpoint } from './endpoint.ts';
import { type Arrival, arrivalOn } from './handshake.ts';
import { type CaseResult, type RunningCase, runAgainstClient } from './runner.ts';
import { createStreamServer } from './streams.ts';
import { WireLog } from './wire-log.ts';

export interface ListenerOptions {
  port: number;
  /** Default 127.0.0.1. */
  host?: string;
  cases: CaseDefinition[];
  /** Factor on all time limits. */
  patience: number;
  /** How many messages a compression case sends. Default 1000, as in the Autobahn suite. */
  messages?: number | undefined;
  /** Whether clients come on streams of HTTP/2, without TLS, and not by upgrades. Default false. */
  http2?: boolean | undefined;
}

export interface ListenerEvents {
  start: [agent: string, running: RunningCase];
  result: [result: CaseResult];
  /** A client asked for the report with all results of its agent. */
  report: [agent: string, results: CaseResult[]];
}

/** A request that fits none of the addresses: answered with 400 and this text. */
class BadRequest extends Error {}

export class FuzzingServer extends EventEmitter<ListenerEvents> {
  readonly #server: Server;
  readonly #options: ListenerOptions;
  readonly #connections = new Set<{ destroy(): void }>();
  /** By agent, then by case number. */
  readonly #results = new Map<string, Map<string, CaseResult>>();

  constructor(options: ListenerOptions) {
    super();
    this.#options = options;
    this.#server = options.http2 ? this.#streams() : this.#upgrades();
  }

  #upgrades(): Server {
    return createServer({ noDelay: true, pauseOnConnect: true }, (socket) => {
      this.#connections.add(socket);
      socket.on('close', () => this.#connections.delete(socket));
      // A broken connection is told by 'close' as well.
      socket.on('error', () => {});
      arrivalOn(socket, 5000 * this.#options.patience).then(
        (arrival) => this.#serve(arrival),
        () => socket.destroy(),
      );
    });
  }

  #streams(): Server {
    const server = createStreamServer((arrival) => this.#serve(arrival));
    server.on('session', (session) => {
      this.#connections.add(session);
      session.on('close', () => this.#connections.delete(session));
    });
    return server;
  }

  async listen(): Promise<{ host: string; port: number }> {
    this.#server.listen(this.#options.port, this.#options.host ?? '127.0.0.1');
    await once(this.#server, 'listening');
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async close(): Promise<void> {
    this.#server.close();
    for (const connection of this.#connections) connection.destroy();
    if (this.#server.listening) await once(this.#server, 'close');
  }

  /** In the order of the cases. */
  resultsOf(agent: string): CaseResult[] {
    return [...(this.#results.get(agent)?.values() ?? [])].sort((a, b) => a.case - b.case);
  }

  async #serve(arrival: Arrival): Promise<void> {
    const { fault, request } = arrival;
    try {
      if (fault !== undefined) throw new BadRequest(fault);
      const url = new URL(request.startLine.split(' ')[1] ?? '/', 'ws://localhost');
      await this.#route(arrival, url);
    } catch (error) {
      if (error instanceof BadRequest) arrival.refuse(error.message);
      else arrival.socket.destroy();
    }
  }

  async #route(arrival: Arrival, url: URL): Promise<void> {
    switch (url.pathname) {
      case '/runCase':
        await this.#runCase(arrival, url);
        break;
      case '/getCaseCount':
        this.#tell(arrival, this.#options.cases.length);
        break;
      case '/getCaseInfo': {
        const { id, description } = this.#caseOf(url).definition;
        this.#tell(arrival, { id, description });
        break;
      }
      case '/getCaseStatus': {
        const { behavior } = await this.#resultOf(agentOf(url), this.#caseOf(url).definition.id);
        this.#tell(arrival, { behavior });
        break;
      }
      case '/updateReports': {
        const agent = agentOf(url);
        this.emit('report', agent, this.resultsOf(agent));
        this.#tell(arrival, undefined);
        break;
      }
      default:
        throw new BadRequest(`no such address: ${url.pathname}`);
    }
  }

  async #runCase(arrival: Arrival, url: URL): Promise<void> {
    const { definition, index } = this.#caseOf(url);
    const agent = agentOf(url);
    const { patience, messages } = this.#options;
    const result = await runAgainstClient(definition, arrival, {
      ...{ agent, index, patience, messages },
      onStart: (running) => this.emit('start', agent, running),
    });
    const ofAgent = this.#results.get(agent) ?? new Map<string, CaseResult>();
    this.#results.set(agent, ofAgent);
    ofAgent.set(definition.id, result);
    this.emit('result', result);
  }

  #caseOf(url: URL): { definition: CaseDefinition; index: number } {
    const { cases } = this.#options;
    const id = url.searchParams.get('casetuple')?.trim();
    const index =
      id === undefined ? Number(url.searchParams.get('case')) : cases.findIndex((one) => one.id === id) + 1;
    const definition = cases[index - 1];
    if (!definition) throw new BadRequest(`no such case: ${url.search} (there are ${cases.length})`);
    return { definition, index };
  }

  async #resultOf(agent: string, id: string): Promise<CaseResult> {
    for (;;) {
      const result = this.#results.get(agent)?.get(id);
      if (result) return result;
      await once(this, 'result');
    }
  }

  /** Sends one value as JSON, or nothing, and closes. */
  #tell(arrival: Arrival, value: unknown): void {
    const { socket, request } = arrival;
    arrival.accept(undefined);
    const ignore = (): void => {};
    const listener = { onMessage: ignore, onPing: ignore, onPong: ignore, onLate: ignore, onLost: ignore };
    const { patience } = this.#options;
    const endpoint = new Endpoint(socket, listener, {
      role: 'server',
      deflate: undefined,
      patience,
      log: new WireLog(),
    });
    endpoint.start(request.rest);
    if (value !== undefined) endpoint.sendMessage(Buffer.from(JSON.stringify(value)), false);
    endpoint.sendClose(1000);
  }
}

function agentOf(url: URL): string {
  const agent = url.searchParams.get('agent');
  if (!agent) throw new BadRequest('the agent is missing: ?agent=NAME');
  return agent;
}
